import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

/** Processes that stand still until they are thawed. */
export interface Frozen {
  /** Resolves when the kernel says that every one of them is stopped. */
  stopped: Promise<void>;
  /** The state of each, as the kernel has it: `T` is stopped. */
  states(): string[];
  /** SIGCONT. May be called again. */
  thaw(): void;
}

/** SIGSTOP to the processes, in this order and before it returns: nothing of them can catch it. */
export function freeze(processes: readonly number[]): Frozen {
  for (const pid of processes) process.kill(pid, "SIGSTOP");
  const states = (): string[] => processes.map(stateOf);
  const stopped = async (): Promise<void> => {
    for (let attempt = 0; attempt < 2_000; attempt++) {
      if (states().every((state) => state === "T")) return;
      await sleep(5);
    }
    throw new Error(`the processes ${processes.join(", ")} do not stop: ${states().join(", ")}`);
  };
  return {
    stopped: stopped(),
    states,
    thaw() {
      for (const pid of processes) process.kill(pid, "SIGCONT");
    },
  };
}

/** The third field of `/proc/<pid>/stat`: after the name, which may hold blanks and brackets. */
function stateOf(pid: number): string {
  return /\) (\S)/.exec(readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*(?=\) )/s, ""))![1]!;
}
