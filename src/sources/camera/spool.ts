import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { MillraceError } from "../../core/index.ts";

/*
 * Recordings on this machine until a version has them. A live stream cannot be asked again, so a recording is on the disk, whole and under its
 * final name, before anything is told of it:
 *
 *   <spool>/open/<process>-<random>.<ending>     being written, or left by a process that died
 *   <spool>/open/….log                           of a playlist: which segments are whole in it, and up to which byte
 *   <spool>/20261124T120000.000Z-<what>.<ending> whole; the time is when it began
 *   <spool>/position                             number of the last segment of a playlist that was recorded
 */

const openFolder = "open";
const positionFile = "position";
const recording = /^\d{8}T\d{6}\.\d{3}Z-.*\.(mkv|ts|mp4)$/;

export interface Recording {
  name: string;
  size: number;
  /** Milliseconds since the epoch. */
  began: number;
}

/** `2026-11-24T12:00:00.000Z` as a name of a file. */
const stampOf = (began: number): string => new Date(began).toISOString().replaceAll(/[-:]/g, "");

/** First and last segment of a recording of a playlist. */
const numbersOf = (name: string): [number, number] | undefined => {
  const [, first, last] = /-hls-(\d+)-(\d+)\./.exec(name) ?? [];
  return first === undefined ? undefined : [Number(first), Number(last)];
};

const beganOf = (name: string): number =>
  Date.parse(name.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)([\d.]+Z).*$/, "$1-$2-$3T$4:$5:$6"));

export class Spool {
  readonly folder: string;
  readonly #maximumBytes: number;

  constructor(folder: string, maximumBytes: number) {
    this.folder = folder;
    this.#maximumBytes = maximumBytes;
  }

  /** Whole recordings, the oldest first. */
  async list(): Promise<Recording[]> {
    const names = await readdir(this.folder).catch(() => []);
    const recordings: Recording[] = [];
    for (const name of names.filter((each) => recording.test(each)).toSorted()) {
      recordings.push({ name, size: (await stat(join(this.folder, name))).size, began: beganOf(name) });
    }
    return recordings;
  }

  /** Where a recording lies. Throws `conflict` when it is not what it was. */
  async pathOf(name: string, size: number): Promise<string> {
    const path = join(this.folder, name);
    const now = await stat(path).catch(() => undefined);
    if (now?.size === size) return path;
    const what = now === undefined ? "is gone" : "has changed";
    throw new MillraceError("conflict", `the recording \`${name}\` ${what} since the run was planned`, {
      where: { file: path },
      hint: "one flow reads a camera: let others read its dataset",
    });
  }

  /** False when it holds as much as it may: what is there is read first. */
  async hasRoom(): Promise<boolean> {
    return (await this.list()).reduce((sum, { size }) => sum + size, 0) < this.#maximumBytes;
  }

  /** The path of a file that is going to be written. */
  async begin(ending: string): Promise<string> {
    await mkdir(join(this.folder, openFolder), { recursive: true });
    return join(this.folder, openFolder, `${process.pid}-${randomUUID()}.${ending}`);
  }

  /** A file that was written to its end becomes a recording. One without a byte goes. Returns its name. */
  async finish(path: string, began: number, what: string): Promise<string | undefined> {
    const ending = path.slice(path.lastIndexOf(".") + 1);
    const file = await open(path, constants.O_RDWR);
    try {
      if ((await file.stat()).size === 0) {
        await rm(path);
        return undefined;
      }
      await file.sync();
    } finally {
      await file.close();
    }
    await rm(`${path}.log`, { force: true });
    const name = `${stampOf(began)}-${what}.${ending}`;
    await rename(path, join(this.folder, name));
    await this.#sync();
    return name;
  }

  /** Files that a process left open when it died, with the time of their begin: what they hold is as good as what was finished. */
  async left(): Promise<{ path: string; began: number }[]> {
    const folder = join(this.folder, openFolder);
    const names = await readdir(folder).catch(() => []);
    const left: { path: string; began: number }[] = [];
    for (const name of names.filter((each) => !each.endsWith(".log"))) {
      if (isAlive(Number(/^\d+/.exec(name)?.[0]))) continue;
      const path = join(folder, name);
      const { birthtimeMs, mtimeMs } = await stat(path);
      left.push({ path, began: birthtimeMs > 0 ? birthtimeMs : mtimeMs });
    }
    return left;
  }

  /** Nothing in it is whole. */
  async discard(path: string): Promise<void> {
    await rm(path, { force: true });
    await rm(`${path}.log`, { force: true });
  }

  /** Number of the last segment of a playlist that is in a recording. */
  async position(): Promise<number | undefined> {
    const numbers = (await this.list()).flatMap(({ name }) => numbersOf(name)?.[1] ?? []);
    const kept = await readFile(join(this.folder, positionFile), "utf8").catch(() => "");
    if (/^\d+\n$/.test(kept)) numbers.push(Number(kept));
    return numbers.length === 0 ? undefined : Math.max(...numbers);
  }

  /** Remembers it, for when the recording is gone. */
  async advance(number: number): Promise<void> {
    const path = join(this.folder, positionFile);
    await writeFile(`${path}.new`, `${number}\n`, { flush: true });
    await rename(`${path}.new`, path);
    await this.#sync();
  }

  /** Recordings that a version has. */
  async remove(names: readonly string[]): Promise<void> {
    for (const name of names) await rm(join(this.folder, name), { force: true });
  }

  async #sync(): Promise<void> {
    const folder = await open(this.folder, constants.O_RDONLY);
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  }
}

/** True as well for another process that has the number by now: its files are left for later. */
function isAlive(pid: number): boolean {
  if (pid === process.pid) return true;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
