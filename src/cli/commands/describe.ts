import { findModule, parseKind } from "../../config/find.ts";
import { capabilityFacts, optionFacts } from "../../config/facts.ts";
import { registry } from "../../registry.ts";
import type { Context, GlobalFlags } from "../context.ts";
import { paint } from "../output.ts";
import { pairs, table } from "../text/table.ts";

export default async function describe(this: Context, flags: GlobalFlags, kind: string, name: string): Promise<void> {
  const definition = await findModule(registry, parseKind(kind), name).load();
  const options = optionFacts(definition.options);
  const { title, summary, needs, capabilities, examples } = definition;
  if (flags.json) {
    this.output.json({ kind: definition.kind, name, title, summary, options, needs, capabilities, examples });
    return;
  }
  const { output } = this;
  const heading = (text: string): void => output.print(`\n${paint(output, "bold", text)}`);
  output.print(`${paint(output, "bold", title)} (${definition.kind}: ${name})`);
  output.print(summary);
  heading("options");
  output.print(
    options.length === 0
      ? "none"
      : table(
          [{ title: "name" }, { title: "type" }, { title: "default" }, { title: "what it does", wrap: true }],
          options.map((option) => [
            option.name,
            option.secret ? `${option.type} (secret)` : option.type,
            option.required ? "required" : (option.default ?? ""),
            option.description,
          ]),
          output.width,
        ),
  );
  heading("can");
  output.print(pairs(capabilityFacts(capabilities)));
  if (needs.length > 0) {
    heading("needs");
    for (const need of needs) output.print(`- ${need}`);
  }
  for (const example of examples) {
    heading(example.title);
    output.print(example.yaml.trimEnd());
  }
}
