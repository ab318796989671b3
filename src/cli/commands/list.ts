import { moduleKinds, parseKind } from "../../config/find.ts";
import { registry } from "../../registry.ts";
import type { Context, GlobalFlags } from "../context.ts";
import { paint } from "../output.ts";
import { table } from "../text/table.ts";

export default async function list(this: Context, flags: GlobalFlags, kind?: string): Promise<void> {
  const kinds = kind === undefined ? [...moduleKinds] : [parseKind(kind)];
  const found = kinds.map((name) => ({
    kind: name,
    modules: Object.entries(registry[name]).map(([module, { title, summary }]) => ({ name: module, title, summary })),
  }));
  if (flags.json) {
    this.output.json(Object.fromEntries(found.map(({ kind: name, modules }) => [name, modules])));
    return;
  }
  const shown = kind === undefined ? found.filter(({ modules }) => modules.length > 0) : found;
  for (const [index, { kind: name, modules }] of shown.entries()) {
    if (index > 0) this.output.print("");
    if (shown.length > 1) this.output.print(paint(this.output, "bold", name));
    const rows = modules.map((module) => [module.name, module.title, module.summary]);
    this.output.print(
      table([{ title: "name" }, { title: "title" }, { title: "what it is", wrap: true }], rows, this.output.width),
    );
  }
  if (!flags.quiet) this.output.note("\nmillrace describe <kind> <name> shows options and examples");
}
