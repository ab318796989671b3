import { MillraceError, suggestion } from "../../core/index.ts";
import type { Context, GlobalFlags } from "../context.ts";
import { errorJson, formatError } from "../errors.ts";
import { paint } from "../output.ts";
import { withLake } from "../session.ts";

interface Outcome {
  kind: "connection" | "flow";
  name: string;
  error?: unknown;
}

export default async function check(this: Context, flags: GlobalFlags, ...names: string[]): Promise<void> {
  const { output, signal } = this;
  await withLake(this, flags, async (lake, config) => {
    const connections = Object.keys(config.connections);
    const flows = Object.keys(config.flows);
    for (const name of names) {
      if (!connections.includes(name) && !flows.includes(name)) {
        throw new MillraceError("not-found", `there is no connection or flow \`${name}\``, {
          hint: suggestion(name, [...connections, ...flows]),
        });
      }
    }
    const wanted = (name: string): boolean => names.length === 0 || names.includes(name);
    const outcomes: Outcome[] = [];
    const attempt = async (kind: Outcome["kind"], name: string, action: () => Promise<void>): Promise<void> => {
      if (!wanted(name)) return;
      const outcome: Outcome = { kind, name };
      outcomes.push(outcome);
      try {
        await action();
      } catch (error) {
        if (signal.aborted) throw error;
        outcome.error = error;
      }
      if (flags.json) return;
      if (outcome.error === undefined) output.print(`${paint(output, "green", "✓")} ${kind} ${name}`);
      else output.print(`${paint(output, "red", "✗")} ${kind} ${name}\n${formatError(outcome.error)}`);
    };
    if (!flags.json && !flags.quiet) output.print(`${paint(output, "green", "✓")} configuration ${config.file}`);
    for (const name of connections) await attempt("connection", name, () => lake.check(name, signal));
    for (const name of flows) await attempt("flow", name, () => lake.checkFlow(name, signal));
    if (flags.json) {
      const results = outcomes.map(({ kind, name, error }) =>
        error === undefined
          ? { kind, name, ok: true }
          : { kind, name, ok: false, ...(JSON.parse(errorJson(error)) as object) },
      );
      output.json({ configuration: config.file, results });
    }
    if (outcomes.some((outcome) => outcome.error !== undefined)) this.process.exitCode = 1;
  });
}
