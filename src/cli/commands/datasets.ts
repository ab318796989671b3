import type { Context, GlobalFlags } from "../context.ts";
import { withLake } from "../session.ts";
import { bytes, count, moment } from "../text/numbers.ts";
import { table } from "../text/table.ts";

export default async function datasets(this: Context, flags: GlobalFlags): Promise<void> {
  const { output } = this;
  await withLake(this, flags, async (lake) => {
    const found = [];
    for (const name of await lake.catalog.list()) {
      const dataset = await lake.catalog.open(name);
      const version = dataset.current();
      found.push({
        name,
        version: version?.number ?? null,
        rows: version?.rows ?? 0,
        files: version?.files ?? 0,
        bytes: version?.bytes ?? 0,
        columns: dataset.columns().length,
        time: version === undefined ? null : new Date(version.time).toISOString(),
        tags: dataset
          .versions()
          .flatMap((candidate) => candidate.tags.map((tag) => ({ tag, version: candidate.number }))),
      });
    }
    if (flags.json) {
      output.json(found);
      return;
    }
    if (found.length === 0) {
      output.print("no datasets yet");
      if (!flags.quiet) output.note("millrace run --all makes those of the configuration");
      return;
    }
    const right = (title: string) => ({ title, align: "right" as const });
    output.print(
      table(
        [
          { title: "dataset" },
          right("version"),
          right("rows"),
          right("columns"),
          right("files"),
          right("size"),
          { title: "updated" },
          { title: "tags" },
        ],
        found.map((item) => [
          item.name,
          item.version === null ? "-" : String(item.version),
          count(item.rows),
          String(item.columns),
          count(item.files),
          bytes(item.bytes),
          item.time === null ? "-" : moment(Date.parse(item.time)),
          item.tags.map(({ tag, version }) => `${tag}@${version}`).join(", "),
        ]),
        output.width,
      ),
    );
  });
}
