import { CreateTableCommand, DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { freePort } from "./install.ts";
import { pythonEnvironment } from "./python.ts";
import { startListening } from "./s3-server.ts";

/** A double of DynamoDB. */
export interface DynamoServer extends AsyncDisposable {
  port: number;
  endpoint: string;
  client: DynamoDBClient;
  /** Makes a table with `pk` and `sk`, or with other keys. */
  table(name: string, keys?: readonly string[]): Promise<void>;
}

/** Starts moto with DynamoDB. Throws `unreachable` when it cannot be installed. */
export async function startDynamo(): Promise<DynamoServer> {
  const { python } = await pythonEnvironment(["moto[dynamodb,server]==5.2.5"]);
  const port = await freePort();
  const stop = await startListening("moto", port, python, ["-m", "moto.server", "-H", "127.0.0.1", "-p", String(port)]);
  const endpoint = `http://127.0.0.1:${port}`;
  const credentials = { accessKeyId: "owner", secretAccessKey: "owner" };
  const client = new DynamoDBClient({ endpoint, region: "us-east-1", credentials });
  return {
    port,
    endpoint,
    client,
    async table(TableName, keys = ["pk", "sk"]) {
      await client.send(
        new CreateTableCommand({
          TableName,
          AttributeDefinitions: keys.map((AttributeName) => ({ AttributeName, AttributeType: "S" })),
          KeySchema: keys.map((AttributeName, index) => ({ AttributeName, KeyType: index === 0 ? "HASH" : "RANGE" })),
          BillingMode: "PAY_PER_REQUEST",
        }),
      );
    },
    async [Symbol.asyncDispose]() {
      client.destroy();
      await stop();
    },
  };
}
