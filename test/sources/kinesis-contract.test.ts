import definition from "../../src/sources/kinesis/index.ts";
import { sourceContract, type SourceRow } from "../contracts/source.ts";
import { startKinesis } from "../services/kinesis.ts";

sourceContract({
  name: "kinesis",
  definition: definition as never,
  async start() {
    const kinesis = await startKinesis();
    const { source: _source, ...options } = kinesis.options;
    const put = (stream: string, rows: readonly SourceRow[]): Promise<void> =>
      kinesis.put(
        stream,
        rows.map((row) => ({ PartitionKey: `key-${row.id % 7}`, Data: Buffer.from(JSON.stringify(row)) })),
      );
    return {
      options,
      secrets: ["kinesis-c4nary-secret"],
      columns: { id: "id", text: "text" },
      maximumRows: 400,
      wrong: [
        {
          what: "nobody there",
          options: { ...options, endpoint: "http://127.0.0.1:1" },
          code: "unreachable",
        },
      ],
      async create(name, rows) {
        await kinesis.create(name, 2);
        await put(name, rows);
        return { stream: name, columns: ["id", "text"] };
      },
      append: put,
      [Symbol.asyncDispose]: () => kinesis[Symbol.asyncDispose](),
    };
  },
});
