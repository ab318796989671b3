import { readFileSync } from "node:fs";
import { run } from "@stricli/core";
import { createApp, routes } from "./app.ts";
import type { Context } from "./context.ts";
import { errorJson, formatError } from "./errors.ts";
import { createOutput } from "./output.ts";
import { reporting } from "./usage.ts";

/** `millrace --json datasets` means `millrace datasets --json`: flags of every command may stand before it. */
function globalFlagsLast(args: readonly string[]): string[] {
  const leading: string[] = [];
  let index = 0;
  for (; index < args.length; index++) {
    const argument = args[index]!;
    if (argument === "--json" || argument === "--quiet" || argument.startsWith("--config=")) leading.push(argument);
    else if (argument === "--config" && index + 1 < args.length) leading.push(argument, args[++index]!);
    else break;
  }
  const [verb, ...rest] = args.slice(index);
  return verb === undefined || verb.startsWith("-") ? [...args] : [verb, ...leading, ...rest];
}

function packageVersion(): string {
  const manifest = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
    version: string;
  };
  return manifest.version;
}

/** What stricli and our errors gave, as one of the documented exit codes. */
function exitCode(code: number | string | null | undefined): number {
  const value = Number(code ?? 0);
  // Wrong command, wrong argument: stricli's own codes are negative.
  return value < 0 ? 2 : value;
}

const flush = (stream: NodeJS.WriteStream): Promise<void> =>
  new Promise((resolve) => (stream.writable ? stream.write("", () => resolve()) : resolve()));

/** Runs one command and ends the process. */
export async function main(args: readonly string[]): Promise<never> {
  const abort = new AbortController();
  const stop = (signal: NodeJS.Signals): void => {
    // A second Ctrl-C does not wait. Nothing is lost: what was staged is taken up or collected later.
    if (abort.signal.aborted) process.exit(130);
    abort.abort(new Error(signal));
  };
  process.on("SIGINT", stop);
  process.on("SIGTERM", stop);
  // What a library throws outside of any call of ours ends the command as an error does, not with a stack on the screen.
  for (const event of ["uncaughtException", "unhandledRejection"] as const) {
    process.on(event, (error: unknown) => {
      process.stderr.write(`${args.includes("--json") ? errorJson(error) : formatError(error)}\n`, () =>
        process.exit(1),
      );
    });
  }
  reporting.json = args.includes("--json");
  reporting.verbs = routes.getAllEntries().map((entry) => entry.name.original);

  const output = createOutput(process.stdout, process.stderr);
  const state: { exitCode?: number | string | null } = {};
  const context: Context = {
    process: Object.assign(state, {
      stdout: { write: (text: string) => output.print(text.replace(/\n$/, "")) },
      stderr: { write: (text: string) => output.note(text.replace(/\n$/, "")) },
    }),
    output,
    signal: abort.signal,
  };
  const app = createApp(packageVersion());
  try {
    await run(app, globalFlagsLast(args), context);
  } catch (error) {
    output.note(formatError(error));
    state.exitCode = 1;
  }
  await Promise.all([flush(process.stdout), flush(process.stderr)]);
  process.exit(abort.signal.aborted && exitCode(state.exitCode) !== 0 ? 130 : exitCode(state.exitCode));
}
