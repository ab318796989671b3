import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline/promises";
import { MillraceError } from "../../core/index.ts";
import type { EraseOptions, EraseReport } from "../../pipeline/index.ts";
import type { Context, GlobalFlags } from "../context.ts";
import { paint } from "../output.ts";
import { withLake } from "../session.ts";
import { count, counted } from "../text/numbers.ts";
import { table } from "../text/table.ts";

interface Flags extends GlobalFlags {
  readonly where?: string | undefined;
  readonly keys?: string | undefined;
  readonly column?: string | undefined;
  readonly text?: readonly string[] | undefined;
  readonly suppress: boolean;
  readonly reason?: string | undefined;
  readonly dryRun: boolean;
  readonly verify: boolean;
  readonly abandon: boolean;
  readonly yes: boolean;
}

/** One key a line; empty lines are left out. */
async function keysOf(file: string): Promise<string[]> {
  const text = await readFile(file, "utf8").catch((cause: unknown) => {
    throw new MillraceError("not-found", `the file of keys \`${file}\` cannot be read`, { cause, where: { file } });
  });
  return text.split(/\r?\n/).filter((line) => line !== "");
}

async function optionsOf(context: Context, flags: Flags): Promise<EraseOptions> {
  const keys = flags.keys === undefined ? undefined : await keysOf(flags.keys);
  return {
    suppress: flags.suppress,
    signal: context.signal,
    ...(flags.where === undefined ? {} : { where: flags.where }),
    ...(keys === undefined
      ? {}
      : { keys: { values: keys, ...(flags.column === undefined ? {} : { column: flags.column }) } }),
    ...(flags.text === undefined ? {} : { text: flags.text }),
    ...(flags.reason === undefined ? {} : { reason: flags.reason }),
  };
}

function print({ output }: Context, report: EraseReport): void {
  const right = (title: string) => ({ title, align: "right" as const });
  output.print(
    table(
      [
        { title: "dataset" },
        { title: "versions" },
        right("files"),
        right("rows in them"),
        right("files of no version"),
      ],
      report.parts.map((part) => [
        part.dataset,
        part.versions.length === 0 ? "-" : part.versions.join(", "),
        count(part.files),
        count(part.rows),
        count(part.unnamed),
      ]),
      output.width,
    ),
  );
}

async function confirm(context: Context, name: string): Promise<void> {
  const { stdin, stderr } = process;
  if (!stdin.isTTY || !context.output.interactive) {
    throw new MillraceError("usage", "an erasure cannot be undone, and nobody is here to confirm it", {
      hint: "look at it with `--dry-run`, then give `--yes`",
    });
  }
  const lines = createInterface({ input: stdin, output: stderr });
  try {
    const answer = await lines.question(
      `Erase these rows from every version? This cannot be undone. Type the name of the dataset (${name}): `,
      { signal: context.signal },
    );
    if (answer.trim() === name) return;
  } finally {
    lines.close();
  }
  throw new MillraceError("aborted", "nothing was erased");
}

export default async function erase(this: Context, flags: Flags, name: string): Promise<void> {
  const { output } = this;
  await withLake(this, flags, async (lake) => {
    if (flags.abandon) {
      const begun = await lake.abandonErase(name);
      if (flags.json) output.json({ dataset: name, abandoned: begun ?? null });
      else if (begun === undefined) output.print(`no erasure of ${name} is going on`);
      else output.print(`the erasure of ${name} begun at ${begun} is given up; the rows are where they are`);
      return;
    }
    const options = await optionsOf(this, flags);
    const found = await lake.erase(name, { ...options, dryRun: true });
    const left = found.status === "found";
    if (flags.verify || flags.dryRun) {
      if (flags.json) output.json(flags.verify ? { ...found, sound: !left } : found);
      else {
        print(this, found);
        if (flags.verify) {
          output.print(
            left
              ? `${paint(output, "red", "✗")} ${name}: rows are left`
              : `${paint(output, "green", "✓")} ${name}: no file of any version, and none beside them, holds such a row`,
          );
        } else output.note("nothing was erased: --dry-run only says what would go");
      }
      if (flags.verify && left) this.process.exitCode = 1;
      return;
    }
    if (!flags.json && left) print(this, found);
    if (!flags.yes) await confirm(this, name);
    const report = await lake.erase(name, options);
    if (flags.json) {
      output.json(report);
      return;
    }
    if (report.status === "nothing") {
      output.print(`no version of ${name} holds such a row`);
      return;
    }
    const rows = report.parts.reduce((sum, part) => sum + part.rows, 0);
    const versions = report.parts.reduce((sum, part) => sum + part.versions.length, 0);
    output.print(
      `${paint(output, "green", "✓")} erased: ${counted(rows, "row")} in files of ${counted(versions, "version")}, ${counted(report.removed, "old file")} removed, ${counted(report.runs, "unfinished run")} given up, ${counted(report.reports, "report")} cleared of values`,
    );
    if (flags.quiet) return;
    if (report.unreadable > 0) {
      output.note(
        `  ${counted(report.unreadable, "rejected record")} could not be parsed when they came: \`millrace preview ${name}__rejected\`, and \`--text\` for what is in them`,
      );
    }
    if (!flags.suppress) output.note("  the source is as it was: a later run may bring the rows back (see --suppress)");
  });
}
