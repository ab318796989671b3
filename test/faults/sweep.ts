import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ChildOptions, type Ended, finish } from "./child.ts";
import type { Random } from "./random.ts";

/** Calls of one kind: what strace is told, and the name in reports. */
export interface CallKind {
  name: string;
  calls: readonly string[];
}

/** The calls by which files come to be, get their names, become durable and go. */
export const durableCalls: readonly CallKind[] = [
  { name: "fsync", calls: ["fsync", "fdatasync"] },
  { name: "link", calls: ["link", "linkat"] },
  { name: "rename", calls: ["rename", "renameat", "renameat2"] },
  { name: "unlink", calls: ["unlink", "unlinkat"] },
  { name: "mkdir", calls: ["mkdir", "mkdirat"] },
  { name: "write", calls: ["write", "pwrite64"] },
];

export interface Point {
  kind: CallKind;
  /** Which of these calls of a thread it is, from 1 on. */
  number: number;
}

/**
 * All points at which a program makes calls of the kinds, by a run of it that nothing happens to. `prepare` makes the state that
 * it begins with: it runs twice, because what Node writes when it first compiles the sources is not to be counted.
 */
export function pointsOf(options: ChildOptions, kinds: readonly CallKind[], prepare: () => void): Promise<Point[]> {
  return inScratch(async (scratch) => {
    const log = join(scratch, "calls");
    prepare();
    await finish(options);
    prepare();
    const names = knownCalls(kinds.flatMap((kind) => [...kind.calls]));
    const ended = await finish({ ...options, strace: ["-o", log, "-e", `trace=${names.join(",")}`] });
    if (ended.code !== 0) throw new Error(`the program fails without a fault: ${ended.errors}`);
    // By thread, since strace counts the calls of each thread apart.
    const counts = new Map<string, number>();
    for (const line of readFileSync(log, "utf8").split("\n")) {
      const match = /^(\d+) +(\w+)\(/.exec(line);
      const kind = match && kinds.find(({ calls }) => calls.includes(match[2]!));
      if (!kind) continue;
      const key = `${match[1]} ${kind.name}`;
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    return kinds.flatMap((kind) => {
      const most = Math.max(
        0,
        ...[...counts].filter(([key]) => key.endsWith(` ${kind.name}`)).map(([, count]) => count),
      );
      return Array.from({ length: most }, (_, index) => ({ kind, number: index + 1 }));
    });
  });
}

/** A sample with the same share of each kind, at least `least` of each. */
export function sample(points: readonly Point[], count: number, random: Random, least = 4): Point[] {
  if (points.length <= count) return [...points];
  const kinds = [...new Set(points.map((point) => point.kind))];
  return kinds.flatMap((kind) => {
    const own = points.filter((point) => point.kind === kind);
    return random.sample(own, Math.max(least, Math.round((own.length / points.length) * count)));
  });
}

/** Runs the program with SIGKILL at the point, or with an error as the result of the call. */
export function runWithFault(options: ChildOptions, point: Point, fault = "signal=SIGKILL"): Promise<Ended> {
  const calls = knownCalls(point.kind.calls).join(",");
  return finish({
    ...options,
    strace: ["-e", `trace=${calls}`, "-e", `inject=${calls}:${fault}:when=${point.number}`],
  });
}

const known = new Map<string, boolean>();
/** Some architectures have no `link` or `rename`, only `linkat` and `renameat`. */
function knownCalls(names: readonly string[]): string[] {
  return names.filter((name) => {
    let is = known.get(name);
    if (is === undefined) {
      is = spawnSync("strace", ["-qq", "-o", "/dev/null", "-e", `trace=${name}`, "true"]).status === 0;
      known.set(name, is);
    }
    return is;
  });
}

/** Runs `action` with an empty folder that is gone afterwards. */
export async function inScratch<T>(action: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "millrace-fault-"));
  try {
    return await action(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
