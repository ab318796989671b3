import { generateHelpTextForAllCommands, type Application, type CommandContext } from "@stricli/core";
import type * as z from "zod";
import { createApp } from "../../src/cli/app.ts";
import { capabilityFacts, optionFacts } from "../../src/config/facts.ts";
import { moduleKinds } from "../../src/config/find.ts";
import { schemaAt } from "../../src/config/problems.ts";
import { configSchema } from "../../src/config/schema.ts";
import { checkSchema, enrichSchema, publishSchema } from "../../src/pipeline/flow.ts";
import type { FoundModule } from "./modules.ts";
import { generatedMark, markdownTable } from "./text.ts";

const pageOf = (module: FoundModule): string => `${module.kind.slice(0, -1)}-${module.definition.name}.md`;

function optionsTable(options: z.ZodType): string {
  const facts = optionFacts(options);
  if (facts.length === 0) return "None.";
  return markdownTable(
    ["option", "type", "default", "what it does"],
    facts.map((option) => [
      `\`${option.name}\``,
      option.secret ? `${option.type}, secret` : option.type,
      option.required ? "*required*" : option.default === undefined ? "" : `\`${option.default}\``,
      option.description,
    ]),
  );
}

function modulePage({ definition }: FoundModule): string {
  const { kind, name, title, summary, options, capabilities, needs, examples } = definition;
  const parts = [generatedMark, `# ${title}`, `\`${kind}: ${name}\``, summary, "## Options", optionsTable(options)];
  if (kind === "check")
    parts.push(
      "Every check also takes `on_fail`, `max_rows` and `max_share`: see [configuration](configuration.md#checks).",
    );
  if (kind === "enricher") {
    parts.push("Every enricher also takes `of` and `max_cost`: see [configuration](configuration.md#enrich).");
  }
  parts.push("## Capabilities", markdownTable(["capability", ""], capabilityFacts(capabilities)));
  if (needs.length > 0) parts.push("## Needs", needs.map((need) => `- ${need}`).join("\n"));
  if (examples.length > 0) parts.push("## Examples");
  for (const example of examples) parts.push(`${example.title}:`, `\`\`\`yaml\n${example.yaml.trimEnd()}\n\`\`\``);
  return `${parts.join("\n\n")}\n`;
}

function commandLinePage(): string {
  const parts = [
    generatedMark,
    "# Command line",
    "Exit codes: 0 done; 1 the run, a check or a system failed; 2 wrong usage or configuration; 130 stopped by Ctrl-C.",
    "Results go to the standard output; progress, remarks and errors to the standard error. With `--json` a result is one JSON " +
      "value, and an error is one line of JSON on the standard error; whole numbers beyond 2^53 are JSON text, so that no reader rounds them.",
  ];
  for (const [route, help] of generateHelpTextForAllCommands(
    createApp("0") as unknown as Application<CommandContext>,
  )) {
    parts.push(`## ${route}`, `\`\`\`\n${help.trimEnd()}\n\`\`\``);
  }
  return `${parts.join("\n\n")}\n`;
}

function configurationPage(): string {
  const at = (...path: string[]): z.ZodType => schemaAt(configSchema, path) as z.ZodType;
  const sections: [string, z.ZodType][] = [
    ["The file", configSchema],
    ["Flows", at("flows", "*")],
    ["From", at("flows", "*", "from")],
    ["Enrich", enrichSchema],
    ["Checks", checkSchema],
    ["Split", at("flows", "*", "split")],
    ["Features", at("features", "*")],
    ["Features: from", at("features", "*", "from", "0")],
    ["Lookup", at("lookup", "*")],
    ["Publish", publishSchema],
    ["Engine", at("engine")],
  ];
  const parts = [
    generatedMark,
    "# Configuration",
    "`millrace.yaml` (or `millrace.ts` with `export default defineConfig({ … })`), found upward from the working folder. Relative paths " +
      "are taken from its folder. In `store` and `connections`, `${env:NAME}` stands for an environment variable and `${file:path}` for the " +
      "contents of a file; those of a connection are read when a command uses the connection.",
  ];
  for (const [title, schema] of sections) parts.push(`## ${title}`, optionsTable(schema));
  return `${parts.join("\n\n")}\n`;
}

function indexPage(modules: readonly FoundModule[]): string {
  const parts = [
    generatedMark,
    "# Reference",
    "- [Command line](cli.md)\n- [Configuration](configuration.md)\n- [Checksums](checksums.md)",
  ];
  for (const kind of moduleKinds) {
    const rows = modules
      .filter((module) => module.kind === kind)
      .map((module) => [
        `[${module.definition.name}](${pageOf(module)})`,
        module.definition.title,
        module.definition.summary,
      ]);
    if (rows.length > 0)
      parts.push(`## ${kind[0]!.toUpperCase()}${kind.slice(1)}`, markdownTable(["name", "title", "what it is"], rows));
  }
  return `${parts.join("\n\n")}\n`;
}

/** Pages by file name. */
export function referencePages(modules: readonly FoundModule[]): Map<string, string> {
  const pages = new Map<string, string>();
  for (const module of modules) pages.set(pageOf(module), modulePage(module));
  pages.set("cli.md", commandLinePage());
  pages.set("configuration.md", configurationPage());
  pages.set("README.md", indexPage(modules));
  return pages;
}

const begin = "<!-- modules: generated -->";
const end = "<!-- /modules -->";

/** The README with its table of modules brought up to date. */
export function readmeTable(readme: string, modules: readonly FoundModule[]): string {
  const from = readme.indexOf(begin);
  const to = readme.indexOf(end);
  if (from < 0 || to < from) throw new Error(`README.md has no \`${begin}\` … \`${end}\``);
  const rows = moduleKinds.flatMap((kind) => {
    const names = modules
      .filter((module) => module.kind === kind)
      .map((module) => `[${module.definition.name}](docs/reference/${pageOf(module)})`);
    return names.length === 0 ? [] : [[kind, names.join(", ")]];
  });
  return `${readme.slice(0, from + begin.length)}\n\n${markdownTable(["kind", "modules"], rows)}\n\n${readme.slice(to)}`;
}
