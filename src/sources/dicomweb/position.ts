import { createHash, createHmac } from "node:crypto";
import { MillraceError, type Cursor } from "../../core/index.ts";

/** Of each hash; two of ten million instances have the same with a chance below one in 100,000. */
const hashBytes = 8;

/**
 * The position of the source: which instances were read, as hashes of their UIDs, 11 characters each whatever the server holds
 * beside them. With a key nobody who does not have it can tell whether an instance is among them.
 */
export class Position {
  readonly #read: Set<string>;
  readonly #key: string | undefined;

  constructor(cursor: Cursor | undefined, key?: string) {
    this.#key = key;
    if (cursor !== undefined && (cursor.version !== 1 || typeof cursor.read !== "string")) {
      throw new MillraceError(
        "unsupported",
        `the cursor of DICOMweb has version ${JSON.stringify(cursor.version)}; this build knows 1`,
        { hint: "use the version of Millrace that wrote it, or a newer one" },
      );
    }
    const bytes = Buffer.from((cursor?.read as string | undefined) ?? "", "base64");
    this.#read = new Set();
    for (let at = 0; at + hashBytes <= bytes.length; at += hashBytes) {
      this.#read.add(bytes.toString("latin1", at, at + hashBytes));
    }
  }

  /** Marks an instance as read. False: it was already. */
  add(...identity: string[]): boolean {
    const text = identity.join("\n");
    const hash = this.#key === undefined ? createHash("sha256") : createHmac("sha256", this.#key);
    const name = hash.update(text).digest().toString("latin1", 0, hashBytes);
    if (this.#read.has(name)) return false;
    this.#read.add(name);
    return true;
  }

  toCursor(): Cursor {
    const read = Buffer.from([...this.#read].sort().join(""), "latin1").toString("base64");
    return { version: 1, count: this.#read.size, read };
  }
}
