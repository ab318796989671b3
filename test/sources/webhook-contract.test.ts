import definition from "../../src/sources/webhook/index.ts";
import { sourceContract } from "../contracts/source.ts";
import { inboxSubject, kitNames } from "../support/inbox-subject.ts";

const secret = "whsec_4dEfn2-secret-of-the-kit";

sourceContract({
  name: "webhook",
  definition: definition as never,
  start: async () => ({
    ...(await inboxSubject({
      options: {
        senders: Object.fromEntries(
          kitNames.map((name) => [name, { scheme: "custom", secret, header: "x-signature", id_header: "x-id" }]),
        ),
        part_requests: 50_000,
      },
      columns: { id: "event_id", text: "body" },
      rowOf: ({ id, text }) => ({ meta: { headers: { "x-id": String(id) } }, body: text }),
    })),
    secrets: [secret],
  }),
});
