import type { FlowStatus } from "../../pipeline/index.ts";
import type { Context, GlobalFlags } from "../context.ts";
import { withLake } from "../session.ts";
import { table } from "../text/table.ts";
import { bytes, count, counted, seconds } from "../text/numbers.ts";

export default async function status(this: Context, flags: GlobalFlags, ...names: string[]): Promise<void> {
  const { output, signal } = this;
  await withLake(this, flags, async (lake, config) => {
    const flows = names.length > 0 ? names : Object.keys(config.flows);
    const found = await lake.status({ flows, signal });
    if (flags.json) return output.json({ flows: found });
    output.print(
      table(
        ["flow", "version", "rows", "last version", "last hour", "waiting"].map((title) => ({ title })),
        found.map((one) => [
          one.flow,
          one.version === undefined ? "none yet" : `${one.dataset}@${one.version}`,
          one.rows === undefined ? "" : count(one.rows),
          one.committed === undefined ? "" : `${ago(one.committed)} ago`,
          one.lastHour === undefined
            ? ""
            : `${counted(one.lastHour.rows, "row")} in ${counted(one.lastHour.versions, "version")}`,
          waiting(one),
        ]),
        output.width,
      ),
    );
    for (const { flow, problem } of found) if (problem !== undefined) output.note(`${flow}: ${problem}`);
  });
}

const ago = (moment: number): string => seconds(Math.max(0, Date.now() - moment) / 1000);

function waiting({ lag, problem }: FlowStatus): string {
  if (problem !== undefined) return "unknown";
  if (lag === undefined) return "";
  const parts = [
    ...(lag.records === undefined ? [] : [counted(lag.records, "record")]),
    ...(lag.bytes === undefined ? [] : [bytes(lag.bytes)]),
    ...(lag.seconds === undefined ? [] : [`${seconds(lag.seconds)} behind`]),
  ];
  return parts.length === 0 ? "" : parts.join(", ");
}
