import { MillraceError } from "../../core/index.ts";
import type { Context, GlobalFlags } from "../context.ts";
import { withLake } from "../session.ts";

interface Flags extends GlobalFlags {
  readonly remove: boolean;
}

export default async function tag(this: Context, flags: Flags, reference: string, name: string): Promise<void> {
  const { output } = this;
  await withLake(this, flags, async (lake) => {
    if (flags.remove) {
      if (reference.includes("@")) {
        throw new MillraceError("usage", `\`${reference}\` names a version, but a tag is removed from a dataset`, {
          hint: `millrace tag ${reference.slice(0, reference.lastIndexOf("@"))} ${name} --remove`,
        });
      }
      await lake.untag(reference, name);
      if (flags.json) output.json({ dataset: reference, removed: name });
      else if (!flags.quiet) output.print(`${reference}@${name} is no longer a tag`);
      return;
    }
    const version = await lake.tag(reference, name);
    const dataset = reference.split("@")[0]!;
    if (flags.json) output.json({ dataset, tag: name, version: version.number });
    else if (!flags.quiet) output.print(`${dataset}@${name} is now version ${version.number}`);
  });
}
