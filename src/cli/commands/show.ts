import { formatType } from "../../core/index.ts";
import type { ErasureState } from "../../dataset/index.ts";
import type { Context, GlobalFlags } from "../context.ts";
import { paint } from "../output.ts";
import { withLake } from "../session.ts";
import { escapeData, fit } from "../text/escape.ts";
import { bytes, count, counted, moment } from "../text/numbers.ts";
import { pairs, table } from "../text/table.ts";

/** What was erased from the dataset, and what is being erased. */
function erasureFacts({ done, pending }: ErasureState): [string, string][] {
  const facts = done
    .filter(({ id }) => id !== pending?.id)
    .map(({ begun, finished, by, rows, versions, reason }): [string, string] => [
      "erased",
      `${finished === undefined ? "given up" : `${counted(rows, "row")} of ${counted(versions.length, "version")}`}, ${moment(Date.parse(begun))} by ${escapeData(by)}${reason === undefined ? "" : `: ${escapeData(reason)}`}`,
    ]);
  if (pending !== undefined) {
    facts.push(["erasing", `not finished, begun ${moment(Date.parse(pending.begun))} by ${escapeData(pending.by)}`]);
  }
  return facts;
}

const prefix = "millrace.";

export default async function show(this: Context, flags: GlobalFlags, reference: string): Promise<void> {
  const { output } = this;
  await withLake(this, flags, async (lake) => {
    const { dataset, version } = await lake.dataset(reference);
    const columns = dataset.columns(version);
    const lineage = Object.fromEntries(
      Object.entries(version.summary).flatMap(([key, value]) =>
        key.startsWith(prefix) ? [[key.slice(prefix.length), value]] : [],
      ),
    );
    if (flags.json) {
      output.json({
        dataset: dataset.name,
        location: dataset.store.uri(dataset.folder),
        version,
        columns,
        erasures: dataset.erasures(),
      });
      return;
    }
    output.print(
      pairs([
        [
          "dataset",
          paint(output, "bold", `${dataset.name}@${version.number}${version.current ? "" : " (not current)"}`),
        ],
        ["location", escapeData(dataset.store.uri(dataset.folder))],
        ["made", `${moment(version.time)} by ${version.operation}`],
        ["rows", count(version.rows)],
        ["files", `${count(version.files)} (${bytes(version.bytes)})`],
        ...erasureFacts(dataset.erasures()),
        ["tags", version.tags.length === 0 ? "-" : version.tags.join(", ")],
      ]),
    );
    output.print("");
    output.print(
      table(
        [
          { title: "id", align: "right" },
          { title: "column" },
          { title: "type" },
          { title: "may be" },
          { title: "about" },
        ],
        columns.map((column) => [
          String(column.id ?? ""),
          column.name,
          formatType(column.type),
          column.required ? "" : "null",
          column.doc ?? "",
        ]),
        output.width,
      ),
    );
    const facts = Object.entries(lineage);
    if (facts.length > 0) {
      output.print(`\n${paint(output, "bold", "where it came from")}`);
      const room =
        output.width === undefined ? undefined : output.width - 2 - Math.max(...facts.map(([key]) => key.length));
      output.print(
        pairs(
          facts.map(([key, value]) => [
            key,
            room === undefined ? escapeData(value) : fit(escapeData(value), Math.max(20, room)),
          ]),
        ),
      );
    }
  });
}
