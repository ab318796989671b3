import { randomUUID } from "node:crypto";
import { mkdir, open, rm } from "node:fs/promises";
import { join } from "node:path";
import {
  asMillraceError,
  isMillraceError,
  MillraceError,
  retry,
  throwIfAborted,
  type FetchResponse,
} from "../../core/index.ts";
import { boundaryOf, partsOfBody, truncated, type BodyPart } from "./multipart.ts";
import { segment, wrongType, type Service } from "./service.ts";

/** An instance that came: a file of ours on this machine, whose owner removes it. */
export interface Fetched {
  path: string;
  size: number;
  /** SOP instance UID, as the file says it; undefined for one that does not. */
  uid: string | undefined;
  /** It has more bytes than is allowed: the file holds the first of them. */
  tooLarge: boolean;
}

export interface Retrieving {
  service: Service;
  /** Folder for what comes. */
  scratch: string;
  maximumBytes: number;
  signal: AbortSignal | undefined;
}

/** As stored, whatever the syntax is: the format reads them all (PS3.18, 8.7.3.5.2). */
const accept = 'multipart/related; type="application/dicom"; transfer-syntax=*';
/** Boundaries and headers of a part. */
const overhead = 64 * 1024;

export const seriesPath = (study: string, series: string): string =>
  `/studies/${segment(study)}/series/${segment(series)}`;
export const instancePath = (study: string, series: string, instance: string): string =>
  `${seriesPath(study, series)}/instances/${segment(instance)}`;

/** Asks for the instances of a path, at most about `most`. Throws what the server refuses with. */
export function ask({ service, maximumBytes, signal }: Retrieving, path: string, most: number): Promise<FetchResponse> {
  return service.get(path, accept, (most + 1) * (maximumBytes + overhead), signal);
}

/**
 * The instances of an answer, as they come. Throws `parse` for an answer that is none of DICOMweb, temporary `corrupt` or
 * `unreachable` for one that was cut; what came before is whole.
 */
export async function* instancesOf(
  retrieving: Retrieving,
  response: FetchResponse,
  most: number,
): AsyncGenerator<Fetched, void, undefined> {
  if (response.status === 204) return;
  const type = response.header("content-type") ?? "";
  const boundary = boundaryOf(type);
  if (boundary === undefined) {
    if (!/^\s*application\/dicom\s*(;|$)/i.test(type)) throw wrongType(response, type, "DICOM instances");
    // One instance alone. Without a length, nobody would notice that it was cut.
    if (response.framing === "close") throw truncated();
    yield await save(retrieving, response.body());
    return;
  }
  let count = 0;
  for await (const part of partsOfBody(response.body(), boundary)) {
    // More than was listed is what came since; far more is none of what was asked for.
    if (++count > 2 * most + 1_000) throw new MillraceError("limit", `the answer has more than ${count - 1} parts`);
    assertDicom(part);
    yield await save(retrieving, part.body());
  }
}

function assertDicom({ headers }: BodyPart): void {
  const type = headers.get("content-type") ?? "application/dicom";
  if (/^\s*application\/dicom\s*(;|$)/i.test(type)) return;
  throw new MillraceError(
    "parse",
    `a part of the multipart answer is \`${type.replace(/;.*$/, "").slice(0, 80)}\` instead of DICOM`,
    { hint: "the server, or a proxy before it, does not answer as DICOMweb does (PS3.18)" },
  );
}

async function save(retrieving: Retrieving, chunks: AsyncIterable<Uint8Array>): Promise<Fetched> {
  const { scratch, maximumBytes } = retrieving;
  await mkdir(scratch, { recursive: true, mode: 0o700 });
  const path = join(scratch, `instance-${randomUUID()}`);
  const file = await open(path, "wx", 0o600);
  let size = 0;
  let head: Buffer = Buffer.alloc(0);
  try {
    for await (const chunk of chunks) {
      size += chunk.length;
      if (size > maximumBytes) continue;
      if (head.length < headBytes) head = Buffer.concat([head, chunk.subarray(0, headBytes - head.length)]);
      await file.writeFile(chunk);
    }
  } catch (error) {
    await file.close();
    await rm(path, { force: true });
    throw isMillraceError(error) ? error : asMillraceError(error);
  }
  await file.close();
  return { path, size, uid: uidIn(head), tooLarge: size > maximumBytes };
}

const headBytes = 4096;

/** The SOP instance UID in the meta information of a file: explicit little endian behind `DICM` (PS3.10, section 7.1). */
export function uidIn(head: Buffer): string | undefined {
  if (head.toString("latin1", 128, 132) !== "DICM") return undefined;
  let at = 132;
  while (at + 12 <= head.length && head.readUInt16LE(at) === 2) {
    const isLong = ["OB", "OW", "UN", "SQ", "UT"].includes(head.toString("latin1", at + 4, at + 6));
    const start = at + (isLong ? 12 : 8);
    const length = isLong ? head.readUInt32LE(at + 8) : head.readUInt16LE(at + 6);
    if (head.readUInt16LE(at + 2) === 3) {
      const uid = head.toString("latin1", start, start + length).replace(/[\0 ]+$/, "");
      return start + length <= head.length && uid !== "" ? uid : undefined;
    }
    at = start + length;
  }
  return undefined;
}

/** One instance; again after a failure that may pass. Throws as `ask` and `instancesOf`, and `parse` where there is not one. */
export function retrieveOne(retrieving: Retrieving, path: string): Promise<Fetched> {
  const { signal } = retrieving;
  return retry(
    async () => {
      let found: Fetched | undefined;
      try {
        await using response = await ask(retrieving, path, 1);
        for await (const fetched of instancesOf(retrieving, response, 1)) {
          if (found === undefined) found = fetched;
          else await rm(fetched.path, { force: true });
        }
      } catch (error) {
        if (found !== undefined) await rm(found.path, { force: true });
        throw error;
      }
      throwIfAborted(signal);
      if (found !== undefined) return found;
      throw new MillraceError("parse", `\`${path}\` answers with no instance`, {
        hint: "the server lists an instance that it does not give: look at it there",
      });
    },
    signal === undefined ? {} : { signal },
  );
}
