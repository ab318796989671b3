import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Gives `action` the bytes as a file of a folder of its own, which nobody else can read and which goes with it. */
export async function withFile<T>(
  bytes: Uint8Array,
  name: string,
  action: (path: string, folder: string) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "millrace-enrich-"));
  try {
    const path = join(folder, name);
    await writeFile(path, bytes, { mode: 0o600 });
    return await action(path, folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
