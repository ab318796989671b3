import definition from "../../src/sources/cloudwatch-logs/index.ts";
import { sourceContract, type SourceRow } from "../contracts/source.ts";
import { startLogs } from "../services/logs.ts";

sourceContract({
  name: "cloudwatch-logs",
  definition: definition as never,
  async start() {
    const logs = await startLogs();
    const { source: _source, ...own } = logs.options;
    // What is older is looked for hour by hour, which the kit has no use for.
    const options = { ...own, value: "json", start: new Date(Date.now() - 600_000).toISOString() };
    const put = async (group: string, rows: readonly SourceRow[]): Promise<void> => {
      if (rows.length > 0)
        await logs.put(
          group,
          "one",
          rows.map((row) => JSON.stringify(row)),
        );
    };
    return {
      options,
      secrets: [logs.s3.secretKey],
      maximumRows: 1_000,
      wrong: [{ what: "nobody there", options: { ...options, endpoint: "http://127.0.0.1:1" }, code: "unreachable" }],
      async create(name, rows) {
        await logs.create(name, "one");
        await put(name, rows);
        return { stream: name, columns: ["id", "text"] };
      },
      append: put,
      [Symbol.asyncDispose]: () => logs[Symbol.asyncDispose](),
    };
  },
});
