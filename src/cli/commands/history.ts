import type { Context, GlobalFlags } from "../context.ts";
import { withLake } from "../session.ts";
import { bytes, count, moment } from "../text/numbers.ts";
import { table } from "../text/table.ts";

export default async function history(this: Context, flags: GlobalFlags, name: string): Promise<void> {
  const { output } = this;
  await withLake(this, flags, async (lake) => {
    const versions = await lake.history(name);
    if (flags.json) {
      output.json(versions);
      return;
    }
    const right = (title: string) => ({ title, align: "right" as const });
    output.print(
      table(
        [
          right("version"),
          { title: "made" },
          { title: "by" },
          right("rows"),
          right("files"),
          right("size"),
          { title: "flow" },
          { title: "tags" },
        ],
        [...versions]
          .reverse()
          .map((version) => [
            `${version.number}`,
            moment(version.time),
            version.current ? version.operation : `${version.operation} (left behind)`,
            count(version.rows),
            count(version.files),
            bytes(version.bytes),
            version.summary["millrace.flow"] ?? "",
            version.tags.join(", "),
          ]),
        output.width,
      ),
    );
  });
}
