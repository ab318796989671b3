import { MillraceError } from "../../core/index.ts";
import type { Context, GlobalFlags } from "../context.ts";
import { withLake } from "../session.ts";
import { count } from "../text/numbers.ts";

export default async function rollback(this: Context, flags: GlobalFlags, reference: string): Promise<void> {
  if (!reference.includes("@")) {
    throw new MillraceError("usage", `\`${reference}\` does not say which version to go back to`, {
      hint: `\`millrace history ${reference}\` lists them; then millrace rollback ${reference}@<version>`,
    });
  }
  const { output } = this;
  await withLake(this, flags, async (lake) => {
    const version = await lake.rollback(reference);
    const dataset = reference.slice(0, reference.lastIndexOf("@"));
    if (flags.json) output.json({ dataset, version: version.number, rows: version.rows });
    else if (!flags.quiet) {
      output.print(
        `${dataset} is at version ${version.number} again (${count(version.rows)} rows); later versions stay in the history`,
      );
    }
  });
}
