import { SingleBar } from "cli-progress";
import type { RunProgress } from "../pipeline/index.ts";
import { bytes, count, seconds } from "./text/numbers.ts";

export interface Progress {
  show(progress: RunProgress): void;
  /** Clears the line. */
  stop(): void;
}

const silent: Progress = { show: () => undefined, stop: () => undefined };
const resolution = 1000;
const barWidth = 24;
const phases: Record<RunProgress["phase"], string> = {
  plan: "planning",
  read: "reading",
  check: "checking",
  publish: "publishing",
  write: "writing",
  done: "done",
};

const isUnderWay = ({ phase }: RunProgress): boolean => phase === "read" || phase === "write";

/** How much of the reading is done, 0 to 1; undefined when the source gave no estimate. */
export function shareDone(progress: RunProgress): number | undefined {
  const { totalBytes, totalRows, parts, partsDone } = progress;
  const share =
    totalBytes !== undefined && totalBytes > 0
      ? progress.bytes / totalBytes
      : totalRows !== undefined && totalRows > 0
        ? progress.rows / totalRows
        : parts > 1
          ? partsDone / parts
          : undefined;
  // Totals are estimates: a bar that is full before the end would be a lie.
  return share === undefined ? undefined : Math.min(share, isUnderWay(progress) ? 0.99 : 1);
}

/** One line: `orders reading ██████░░░░ 45% 1,200,000 rows 120 MB 85 MB/s ETA 3.0 s`. */
export function progressLine(name: string, progress: RunProgress, elapsedSeconds: number): string {
  const share = shareDone(progress);
  const parts = [name, phases[progress.phase]];
  if (progress.phase === "plan") return parts.join(" ");
  if (share !== undefined) {
    const filled = Math.round(share * barWidth);
    parts.push(`${"█".repeat(filled)}${"░".repeat(barWidth - filled)}`, `${Math.floor(share * 100)}%`);
  }
  parts.push(`${count(progress.rows)} rows`, bytes(progress.bytes));
  if (elapsedSeconds > 0.2 && progress.bytes > 0) parts.push(`${bytes(progress.bytes / elapsedSeconds)}/s`);
  if (isUnderWay(progress) && share !== undefined && share > 0.02 && elapsedSeconds > 1) {
    parts.push(`ETA ${seconds((elapsedSeconds / share) * (1 - share))}`);
  }
  return parts.join(" ");
}

/** A bar on stderr when that is a terminal; nothing otherwise. */
export function createProgress(name: string, visible: boolean): Progress {
  if (!visible) return silent;
  let latest: RunProgress = { phase: "plan", rows: 0, bytes: 0, parts: 0, partsDone: 0 };
  let readingSince: number | undefined;
  const bar = new SingleBar({
    stream: process.stderr,
    clearOnComplete: true,
    hideCursor: true,
    fps: 8,
    format: () => {
      const now = performance.now();
      return progressLine(name, latest, (now - (readingSince ?? now)) / 1000);
    },
  });
  bar.start(resolution, 0);
  return {
    show(progress) {
      if (progress.phase !== "plan") readingSince ??= performance.now();
      latest = progress;
      bar.update(Math.round((shareDone(progress) ?? 0) * resolution));
    },
    stop: () => bar.stop(),
  };
}
