import { hash, randomBytes } from "node:crypto";
import { chmodSync, closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { join } from "node:path";
import { MillraceError, systemCode, type CollectorKey } from "../../core/index.ts";

/** Of the collectors of one configuration, by connection and name. Only hashes are kept. */
interface KeyFile {
  version: 1;
  keys: { [connection: string]: { [name: string]: { sha256: string; created: string } } };
}

export interface OpenedKeys {
  /** By the SHA-256 of the key, hexadecimal. */
  byHash: Map<string, { connection: string; key: CollectorKey }>;
  /** Those that were made just now: they are shown once. */
  generated: { connection: string; name: string; key: string }[];
}

export const keyFile = (folder: string): string => join(folder, "collect-keys.json");

/** The hash of 256 random bits cannot be turned round, and looking it up tells nothing of the key by its time. */
export const keyHash = (key: string): string => hash("sha256", key);

/**
 * The keys of all connections; one that is neither configured nor in the file is generated, and its hash is written to the file, which only its
 * owner may read. Throws `config` for two keys that are the same, `corrupt` for a file that cannot be read.
 */
export function openKeys(
  folder: string,
  connections: readonly { name: string; keys: readonly CollectorKey[] }[],
): OpenedKeys {
  const path = keyFile(folder);
  const file = readKeys(path);
  const opened: OpenedKeys = { byHash: new Map(), generated: [] };
  for (const { name: connection, keys } of connections) {
    for (const key of keys) {
      const known = Object.hasOwn(file.keys, connection) ? file.keys[connection]! : (file.keys[connection] = {});
      let sha256 =
        key.key === undefined
          ? Object.hasOwn(known, key.name)
            ? known[key.name]!.sha256
            : undefined
          : keyHash(key.key);
      if (sha256 === undefined) {
        const made = `mk_${randomBytes(32).toString("base64url")}`;
        sha256 = keyHash(made);
        known[key.name] = { sha256, created: new Date().toISOString() };
        opened.generated.push({ connection, name: key.name, key: made });
      }
      const other = opened.byHash.get(sha256);
      if (other !== undefined) {
        throw new MillraceError(
          "config",
          `the key \`${key.name}\` of \`${connection}\` is that of \`${other.key.name}\` of \`${other.connection}\``,
          {
            where: { connection },
            hint: "every key is of one connection and has one name: give it a value of its own",
          },
        );
      }
      opened.byHash.set(sha256, { connection, key });
    }
  }
  if (opened.generated.length > 0) writeKeys(path, file);
  return opened;
}

function readKeys(path: string): KeyFile {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
    chmodSync(path, 0o600);
  } catch (error) {
    if (systemCode(error) === "ENOENT") return { version: 1, keys: {} };
    throw error;
  }
  try {
    const file = JSON.parse(text) as Partial<KeyFile>;
    if (file.version === 1 && typeof file.keys === "object") return { version: 1, keys: file.keys };
  } catch {
    // Said below.
  }
  throw new MillraceError("corrupt", `the file of keys \`${path}\` cannot be read`, {
    where: { file: path },
    hint: "restore it; or remove it, and new keys are made, which all senders then need",
  });
}

function writeKeys(path: string, file: KeyFile): void {
  const partial = `${path}.partial`;
  const descriptor = openSync(partial, "w", 0o600);
  try {
    writeSync(descriptor, `${JSON.stringify(file, undefined, 2)}\n`);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  renameSync(partial, path);
}
