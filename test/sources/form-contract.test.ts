import definition from "../../src/sources/form/index.ts";
import { sourceContract } from "../contracts/source.ts";
import { inboxSubject, kitNames } from "../support/inbox-subject.ts";

sourceContract({
  name: "form",
  definition: definition as never,
  start: () =>
    inboxSubject({
      options: {
        title: "Kit",
        channels: kitNames,
        questions: { text: { kind: "text", text: "?", max_length: 20_000 } },
        part_requests: 50_000,
      },
      columns: { id: "answer_id", text: "text" },
      // What is only spaces is no answer, and a line break is one character.
      takesText: (text) => text.trim() !== "" && !text.includes("\r\n"),
      rowOf: ({ id, text }) => ({ meta: { type: "application/json" }, body: { answer_id: String(id), text } }),
    }),
});
