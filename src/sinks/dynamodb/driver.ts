import { randomUUID } from "node:crypto";
import { DeleteItemCommand, DescribeTableCommand, PutItemCommand } from "@aws-sdk/client-dynamodb";
import { MillraceError, throwIfAborted, type Sink, type SinkContext } from "../../core/index.ts";
import type { Publication } from "./layout.ts";
import { getRows } from "./lookup.ts";
import type { Options } from "./options.ts";
import { isPublished, publishRows, readCurrent, type PublishState } from "./publish.ts";
import { itemKey, openTable, translated } from "./table.ts";

/** Connects on first use. */
export async function open(options: Options, context: SinkContext): Promise<Sink> {
  const table = await openTable(options);
  const known = new Map<string, { text: string; publication: Publication }>();
  const within = <Result>(signal: AbortSignal | undefined, work: () => Promise<Result>): Promise<Result> =>
    translated(context.connection, signal, work);

  return {
    check: (signal) =>
      within(signal, async () => {
        throwIfAborted(signal);
        const { Table: found } = await table.client.send(new DescribeTableCommand({ TableName: options.table }));
        const keys = (found?.KeySchema ?? []).map(({ AttributeName, KeyType }) => `${AttributeName} ${KeyType}`);
        if (keys.join() !== "pk HASH,sk RANGE") {
          throw new MillraceError("schema", `the key of the table \`${options.table}\` is ${keys.join(", ")}`, {
            hint: "make a table with `pk` and `sk`: `millrace describe sink dynamodb` says how",
          });
        }
        const probe = itemKey({ pk: `t#millrace check ${randomUUID()}`, sk: "check" });
        await table.client.send(new PutItemCommand({ TableName: options.table, Item: probe }));
        await table.client.send(new DeleteItemCommand({ TableName: options.table, Key: probe }));
        throwIfAborted(signal);
      }),

    publish: (version, request) =>
      within(request.signal, async () => {
        throwIfAborted(request.signal);
        if (request.mode === "merge") {
          throw new MillraceError("unsupported", "copies in DynamoDB are whole versions and cannot be merged", {
            hint: "publish with `mode: replace`",
          });
        }
        const place = { target: request.target, keepSeconds: options.keep_s, connections: options.connections };
        const state: PublishState = { switching: false };
        try {
          return await publishRows(table, place, version, request, state);
        } catch (error) {
          if (!state.switching) throw error;
          // The answer to the switch was lost.
          const now = await readCurrent(table, request.target).catch(() => undefined);
          if (now === undefined) {
            throw new MillraceError(
              "unknown-outcome",
              `whether \`${request.target}\` holds the version is not known: the connection was lost as it was switched to`,
              {
                cause: error,
                temporary: true,
                hint: "publish again: what is there already is not written twice",
              },
            );
          }
          if (isPublished(now.found, version, request)) return { status: "published", rows: version.rows };
          throw error;
        }
      }),

    get: (request) => within(request.signal, () => getRows(table, request, known, options.connections)),

    async [Symbol.asyncDispose]() {
      table.close();
    },
  };
}
