import type { CommandContext } from "@stricli/core";
import type { Output } from "./output.ts";

/** What every command gets as `this`. */
export interface Context extends CommandContext {
  readonly process: CommandContext["process"] & { exitCode?: number | string | null };
  readonly output: Output;
  /** Fires on Ctrl-C and on SIGTERM. */
  readonly signal: AbortSignal;
}

/** Flags of every command. */
export interface GlobalFlags {
  readonly config?: string | undefined;
  readonly json: boolean;
  readonly quiet: boolean;
}
