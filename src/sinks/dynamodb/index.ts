import { defineSink } from "../../core/index.ts";
import { options } from "./options.ts";

export default defineSink({
  name: "dynamodb",
  title: "Amazon DynamoDB",
  summary: "An item for each key of a dataset; versions are written beside each other and switched in one transaction.",
  options,
  needs: [
    "a table with `pk` and `sk`: `aws dynamodb create-table --table-name online --attribute-definitions AttributeName=pk,AttributeType=S AttributeName=sk,AttributeType=S --key-schema AttributeName=pk,KeyType=HASH AttributeName=sk,KeyType=RANGE --billing-mode PAY_PER_REQUEST`",
    "`dynamodb:DescribeTable`, `GetItem`, `BatchGetItem`, `Query`, `PutItem`, `DeleteItem`, `BatchWriteItem` and `ConditionCheckItem` on it",
    "never run against the live service: tested with DynamoDB's double moto; `npm run smoke -- dynamodb <table>` tries it with your credentials",
  ],
  capabilities: { lookup: true, merge: false, atomic: true },
  examples: [
    {
      title: "Published after every run of a flow",
      yaml: [
        "connections:",
        "  online: { sink: dynamodb, table: online, region: eu-central-1 }",
        "flows:",
        "  customers:",
        "    from: { path: customers/*.csv }",
        "    publish:",
        "      - { connection: online, key: [customer_id] }",
        "",
      ].join("\n"),
    },
  ],
  load: async () => import("./driver.ts"),
});
