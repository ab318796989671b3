import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import { MillraceError } from "../../core/index.ts";
import type { Bucket } from "./bucket.ts";

/** CRC-32 as S3 writes it: four bytes, the highest first, in base64. */
export function crcText(bytes: Uint8Array): string {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32BE(crc32(bytes));
  return buffer.toString("base64");
}

/** The parameter of a request by which the server verifies its body. */
export function checksumOf(bucket: Bucket, bytes: Uint8Array): { ChecksumCRC32?: string; ContentMD5?: string } {
  return bucket.checksums === "crc32"
    ? { ChecksumCRC32: crcText(bytes) }
    : { ContentMD5: createHash("md5").update(bytes).digest("base64") };
}

/** Throws `corrupt` when the server says that it holds other bytes than were sent or received; it may say nothing. */
export function assertChecksum(
  path: string,
  bytes: Uint8Array,
  reply: { ChecksumCRC32?: string | undefined; ChecksumType?: string | undefined },
): void {
  const { ChecksumCRC32: said, ChecksumType: type } = reply;
  // A composite one is the checksum of the checksums of parts.
  if (said === undefined || type === "COMPOSITE" || said.includes("-")) return;
  if (said !== crcText(bytes)) {
    throw new MillraceError("corrupt", `the checksum of \`${path}\` is not that of its bytes`, {
      temporary: true,
      where: { store: "s3", file: path },
      hint: "`millrace verify` tells which data is damaged",
    });
  }
}
