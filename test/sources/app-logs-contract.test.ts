import definition from "../../src/sources/app-logs/index.ts";
import { sourceContract } from "../contracts/source.ts";
import { inboxSubject, kitNames } from "../support/inbox-subject.ts";

sourceContract({
  name: "app-logs",
  definition: definition as never,
  start: () =>
    inboxSubject({
      options: { keys: Object.fromEntries(kitNames.map((name) => [name, {}])), part_requests: 50_000 },
      columns: { id: "sequence", text: "message" },
      rowOf: ({ id, text }) => ({
        meta: { type: "application/json", ip: null },
        body: { device_id: "d", seq: id, message: text },
      }),
    }),
});
