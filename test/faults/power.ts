import { execFileSync } from "node:child_process";
import { copyFileSync, constants, mkdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { type ChildOptions, type Ended, start } from "./child.ts";

/** An ext4 file system in a file, mounted so that nothing reaches the image unless it was asked for by fsync. */
export interface Disk extends Disposable {
  /** Where it is mounted. */
  place: string;
  /** The image as it is at this moment: what a machine would find after its power was cut. */
  cut(name: string): string;
}

const mebibyte = 2 ** 20;

export function makeDisk(folder: string, mebibytes = 48): Disk {
  const image = join(folder, "disk.img");
  const place = join(folder, "disk");
  writeFileSync(image, "");
  truncateSync(image, mebibytes * mebibyte);
  execFileSync("mkfs.ext4", ["-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", image]);
  mkdirSync(place);
  // No commit of the journal by itself for ten minutes, and no kindness to programs that rename without fsync.
  execFileSync("mount", ["-o", "loop,commit=600,noauto_da_alloc", image, place]);
  return {
    place,
    cut(name) {
      const copy = join(folder, `${name}.img`);
      copyFileSync(image, copy, constants.COPYFILE_FICLONE);
      return copy;
    },
    [Symbol.dispose]: () => void execFileSync("umount", [place]),
  };
}

/** Mounts the image of a cut, as a machine does that starts again, and looks at it. */
export async function afterPower<T>(image: string, look: (place: string) => Promise<T>): Promise<T> {
  const place = `${image}-place`;
  mkdirSync(place);
  execFileSync("mount", ["-o", "loop", image, place]);
  try {
    return await look(place);
  } finally {
    execFileSync("umount", [place]);
    rmSync(image);
  }
}

export interface Cut {
  image: string;
  /** The step of the program before which the power went. */
  step: number;
  /** Lines of standard output until then: what was acknowledged. */
  lines: string[];
}

/** Runs a program on the disk and cuts the power at each of the steps: the image is copied while the program stands still. */
export async function cutAt(
  disk: Disk,
  options: ChildOptions,
  at: readonly number[],
): Promise<{ cuts: Cut[]; ended: Ended }> {
  const child = start({ ...options, steps: { ...options.steps, at, action: "pause" } });
  const cuts: Cut[] = [];
  for (;;) {
    const step = await child.paused();
    if (step === undefined) break;
    // What it had printed before is in the pipe already; two turns read it.
    await turn();
    await turn();
    cuts.push({ step, lines: child.lines(), image: disk.cut(`cut-${child.process.pid}-${step}`) });
    child.resume();
  }
  return { cuts, ended: await child.ended };
}
