/** What a worker does for a run, on this machine or another. All state is in the store, so each may be done again and again. */
export interface RunWork {
  /** The parts of the run, by id. Reads the plan in the store. */
  parts(run: string, signal: AbortSignal): Promise<string[]>;
  /** Reads and stages one part. The first attempt that is finished wins; later ones change nothing. */
  part(run: string, part: string, signal: AbortSignal): Promise<void>;
  /** Checks and publishes. Throws `conflict` while parts are missing. A run that was published is not published again. */
  commit(run: string, signal: AbortSignal): Promise<void>;
  /** Writes into the store that the run must not be committed any more, and why. */
  cancel(run: string, why: string): Promise<void>;
}

export interface RunStatus {
  /** `unknown`: the runner has never heard of it, or has forgotten it; the store still knows. */
  state: "unknown" | "waiting" | "running" | "done" | "failed" | "cancelled";
  /** Parts that are done, of all. */
  done: number;
  parts: number;
  /** Why it failed or was cancelled. */
  message?: string;
}

/**
 * Does the parts of runs somewhere, each at least once, and then commits. It carries only the ids of runs and parts: a runner
 * that loses its state loses nothing, because submitting again goes on from what the store holds.
 */
export interface Runner extends AsyncDisposable {
  check(signal?: AbortSignal): Promise<void>;
  /** Resolves once the run is accepted. A run that is waiting or running already stays one run. */
  submit(run: string): Promise<void>;
  status(run: string): Promise<RunStatus>;
  /** Resolves once no part of the run is at work here any more. Unknown and ended runs: no error. */
  cancel(run: string, why: string): Promise<void>;
}

export interface RunnerCapabilities {
  /** Parts run on other machines. */
  remote: boolean;
  /** Runs go on when this process ends. */
  durable: boolean;
}

export interface RunnerContext {
  connection: string;
  folder: string;
  /** What is to be done; a remote runner starts the command that does the same elsewhere. */
  work: RunWork;
}
