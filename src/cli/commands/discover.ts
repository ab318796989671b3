import { formatType, MillraceError, suggestion, type StreamInfo } from "../../core/index.ts";
import type { Context, GlobalFlags } from "../context.ts";
import { withLake } from "../session.ts";
import { bytes, count, counted } from "../text/numbers.ts";
import { table } from "../text/table.ts";

interface Flags extends GlobalFlags {
  readonly columns: boolean;
}

export default async function discover(
  this: Context,
  flags: Flags,
  connection: string,
  stream?: string,
): Promise<void> {
  const { output, signal } = this;
  await withLake(this, flags, async (lake) => {
    const streams: StreamInfo[] = [];
    for await (const info of lake.streams(connection, signal)) streams.push(info);
    const chosen = stream === undefined ? streams : streams.filter((info) => info.name === stream);
    if (stream !== undefined && chosen.length === 0) {
      throw new MillraceError("not-found", `\`${connection}\` has no stream \`${stream}\``, {
        hint: suggestion(
          stream,
          streams.map((info) => info.name),
        ),
        where: { connection },
      });
    }
    if (flags.json) {
      output.json(chosen);
      return;
    }
    const rows = chosen.map((info) => [
      info.name,
      info.kind ?? "",
      info.rows === undefined ? "" : count(info.rows),
      info.bytes === undefined ? "" : bytes(info.bytes),
      String(info.columns.length),
      info.key.join(", "),
      info.cursors.join(", "),
    ]);
    const right = (title: string) => ({ title, align: "right" as const });
    output.print(
      table(
        [
          { title: "stream" },
          { title: "kind" },
          right("≈ rows"),
          right("≈ size"),
          right("columns"),
          { title: "key" },
          { title: "cursors" },
        ],
        rows,
        output.width,
      ),
    );
    if (flags.columns || stream !== undefined) {
      for (const info of chosen) {
        const columns = info.columns.map((column) => [
          column.name,
          formatType(column.type),
          column.required ? "" : "null",
          column.doc ?? "",
        ]);
        output.print(`\n${info.name}`);
        output.print(
          table(
            [{ title: "column" }, { title: "type" }, { title: "may be" }, { title: "about" }],
            columns,
            output.width,
          ),
        );
      }
    }
    if (!flags.quiet) output.note(`\n${counted(chosen.length, "stream")}; counts are the source's own estimates`);
  });
}
