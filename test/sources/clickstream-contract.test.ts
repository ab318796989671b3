import definition from "../../src/sources/clickstream/index.ts";
import { sourceContract } from "../contracts/source.ts";
import { inboxSubject, kitNames } from "../support/inbox-subject.ts";

sourceContract({
  name: "clickstream",
  definition: definition as never,
  start: () =>
    inboxSubject({
      options: { keys: Object.fromEntries(kitNames.map((name) => [name, {}])), part_requests: 50_000 },
      maximumRows: 5_000,
      columns: { id: "event_id", text: "name" },
      rowOf: ({ id, text }) => ({
        meta: { protocol: "segment", path: "/v1/track", ip: null, ua: null },
        body: { userId: "u", messageId: String(id), event: text },
      }),
    }),
});
