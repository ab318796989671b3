import { readFileSync } from "node:fs";
import PostalMime from "postal-mime";
import { instant, type Document } from "./document.ts";
import { tidy } from "../plain-text.ts";
import { textOfHtml } from "../html-text.ts";

type Party = { name: string; address?: string | undefined; group?: { name: string; address: string }[] | undefined };

function partyText(party: Party): string {
  if (party.group !== undefined) return party.group.map(partyText).join(", ");
  return party.name === "" || party.name === party.address ? (party.address ?? "") : `${party.name} <${party.address}>`;
}

/** A message: RFC 5322 and MIME. Attachments are named, not read. */
export async function readMail(path: string): Promise<Document> {
  const message = await PostalMime.parse(readFileSync(path), { maxNestingDepth: 50, maxHeadersSize: 1024 * 1024 });
  const html = message.html === undefined ? undefined : textOfHtml(message.html);
  const parties = (list: readonly Party[] | undefined): string[] => (list ?? []).map(partyText);
  return {
    title: message.subject,
    author: message.from === undefined ? undefined : partyText(message.from as Party),
    created: instant(message.date),
    metadata: {
      message_id: message.messageId,
      in_reply_to: message.inReplyTo,
      to: parties(message.to as Party[]),
      cc: parties(message.cc as Party[]),
      attachments: message.attachments.map(({ filename, mimeType }) => ({ name: filename, media_type: mimeType })),
    },
    content: [{ text: tidy(message.text ?? html?.text ?? ""), links: html?.links ?? [] }],
  };
}
