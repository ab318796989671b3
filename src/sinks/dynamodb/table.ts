import { setTimeout as sleep } from "node:timers/promises";
import {
  BatchGetItemCommand,
  BatchWriteItemCommand,
  DynamoDBClient,
  QueryCommand,
  type AttributeValue,
  type WriteRequest,
} from "@aws-sdk/client-dynamodb";
import { NodeHttpHandler } from "@smithy/node-http-handler";
import { isMillraceError, messageOf, MillraceError, systemCode, throwIfAborted } from "../../core/index.ts";
import { account, regionOf } from "../../protocols/aws/account.ts";
import type { Options } from "./options.ts";

export type Item = Record<string, AttributeValue>;
export type Key = { pk: string; sk: string };

export const itemKey = ({ pk, sk }: Key): Item => ({ pk: { S: pk }, sk: { S: sk } });
export const textOf = (item: Item | undefined, name: string): string | undefined => item?.[name]?.S;

/** Items of one call; the service's own limits. */
export const writesAtOnce = 25;
export const readsAtOnce = 100;
/** Answers in a row that take nothing on before the table counts as too busy. */
const patience = 10;

export interface Table {
  client: DynamoDBClient;
  name: string;
  /** Puts or deletes up to 25 items; what the service leaves over is sent again. */
  write(requests: WriteRequest[], signal?: AbortSignal): Promise<void>;
  /** Up to 100 items, by `pk` and `sk` joined with a line feed. Consistent. */
  read(keys: Key[], signal?: AbortSignal): Promise<Map<string, Item>>;
  /** The sort keys of a partition. */
  sortKeys(pk: string, signal?: AbortSignal): AsyncGenerator<string[], void, undefined>;
  close(): void;
}

export async function openTable(options: Options): Promise<Table> {
  const requestHandler = new NodeHttpHandler({
    httpsAgent: { maxSockets: options.connections },
    httpAgent: { maxSockets: options.connections },
    socketTimeout: 60_000,
  });
  const client = new DynamoDBClient({
    requestHandler,
    maxAttempts: 6,
    ...(options.endpoint && { endpoint: options.endpoint }),
    ...regionOf(options),
    ...(await account(options, requestHandler)),
  });
  const { table: name } = options;
  /** Waits longer each time that nothing was taken on. */
  const pause = async (fruitless: number, signal: AbortSignal | undefined): Promise<void> => {
    throwIfAborted(signal);
    if (fruitless > patience) {
      throw new MillraceError("unreachable", `the table \`${name}\` takes nothing more`, {
        temporary: true,
        hint: "give it more capacity (`--billing-mode PAY_PER_REQUEST`), or lower `connections`",
      });
    }
    await sleep(
      Math.min(5_000, 25 * 2 ** fruitless) * (0.5 + Math.random() / 2),
      undefined,
      signal ? { signal } : {},
    ).catch(() => undefined);
    throwIfAborted(signal);
  };
  const sending = (signal: AbortSignal | undefined): { abortSignal?: AbortSignal } =>
    signal ? { abortSignal: signal } : {};
  return {
    client,
    name,
    async write(requests, signal) {
      let left = requests;
      for (let fruitless = 0; left.length > 0;) {
        const { UnprocessedItems } = await client.send(
          new BatchWriteItemCommand({ RequestItems: { [name]: left } }),
          sending(signal),
        );
        const over = UnprocessedItems?.[name] ?? [];
        fruitless = over.length < left.length ? 0 : fruitless + 1;
        left = over;
        if (left.length > 0) await pause(fruitless, signal);
      }
    },
    async read(keys, signal) {
      const found = new Map<string, Item>();
      let left: Item[] = keys.map(itemKey);
      for (let fruitless = 0; left.length > 0;) {
        const wanted = { [name]: { Keys: left, ConsistentRead: true } };
        const { Responses, UnprocessedKeys } = await client.send(
          new BatchGetItemCommand({ RequestItems: wanted }),
          sending(signal),
        );
        for (const item of Responses?.[name] ?? []) found.set(`${textOf(item, "pk")}\n${textOf(item, "sk")}`, item);
        const over = UnprocessedKeys?.[name]?.Keys ?? [];
        fruitless = over.length < left.length ? 0 : fruitless + 1;
        left = over;
        if (left.length > 0) await pause(fruitless, signal);
      }
      return found;
    },
    async *sortKeys(pk, signal) {
      let from: Item | undefined;
      do {
        const page = await client.send(
          new QueryCommand({
            TableName: name,
            KeyConditionExpression: "pk = :pk",
            ExpressionAttributeValues: { ":pk": { S: pk } },
            ProjectionExpression: "sk",
            ConsistentRead: true,
            ...(from === undefined ? {} : { ExclusiveStartKey: from }),
          }),
          sending(signal),
        );
        yield (page.Items ?? []).map((item) => textOf(item, "sk")!);
        from = page.LastEvaluatedKey;
      } while (from !== undefined);
    },
    close: () => client.destroy(),
  };
}

/** Runs `work`, its errors in Millrace's codes. */
export async function translated<Result>(
  connection: string,
  signal: AbortSignal | undefined,
  work: () => Promise<Result>,
): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throwIfAborted(signal);
    throw isMillraceError(error) ? error.at({ connection }) : serviceError(error).at({ connection });
  }
}

function serviceError(error: unknown): MillraceError {
  const { name = "", $metadata: metadata } = error as { name?: string; $metadata?: { httpStatusCode?: number } };
  const fail = (code: MillraceError["code"], hint: string, temporary = false): MillraceError =>
    new MillraceError(code, `DynamoDB: ${name}: ${messageOf(error)}`, { cause: error, hint, temporary });
  switch (name) {
    case "ResourceNotFoundException":
      return fail("not-found", "make the table first: `millrace describe sink dynamodb` says how");
    case "AccessDeniedException":
      return fail("permission", "grant the actions that `millrace describe sink dynamodb` lists");
    case "UnrecognizedClientException":
    case "InvalidSignatureException":
    case "ExpiredTokenException":
    case "IncompleteSignatureException":
    case "MissingAuthenticationTokenException":
    case "InvalidClientTokenId":
    case "CredentialsProviderError":
      return fail("authentication", "look at `credentials`, `role`, or what the AWS tools find");
    case "ProvisionedThroughputExceededException":
    case "ThrottlingException":
    case "RequestLimitExceeded":
    case "LimitExceededException":
    case "TransactionInProgressException":
      return fail("unreachable", "give the table more capacity, or lower `connections`", true);
    case "ValidationException":
      return fail("unsupported", "the server does not take what DynamoDB takes");
  }
  const status = metadata?.httpStatusCode ?? 0;
  if (status >= 500) return fail("unreachable", "run again later: the service is busy or ill", true);
  if (status === 403) return fail("authentication", "look at `credentials`");
  if (/region is missing/i.test(messageOf(error)))
    return fail("config", "set `region`, or AWS_REGION in the environment");
  return new MillraceError("unreachable", `DynamoDB cannot be reached: ${systemCode(error) ?? messageOf(error)}`, {
    cause: error,
    temporary: true,
    hint: "look at `endpoint` and `region`, and at the network of this machine",
  });
}
