import type { CollectedRequest, Collector, CollectorContext } from "../../core/index.ts";
import { header, inboxFolder, reply } from "../collected/index.ts";
import type { Options, Sender } from "./options.ts";
import { isSigned, signatureHeader } from "./signature.ts";

const taken = reply(200, "application/json", '{"success":true}');
const unsigned = reply(401, "application/json", '{"success":false,"error":"the signature does not fit"}');

/** Headers that say nothing of the event, or too much of who sends it. */
const leftOut =
  /^(authorization|cookie|proxy-|x-forwarded|x-real-ip|forwarded|connection|host|content-length|transfer-encoding|accept|user-agent|via)/;

/** Takes deliveries whose signature fits: `POST /hooks/<connection>/<sender>`. */
export function collector(options: Options, context: CollectorContext): Collector {
  const open = Object.entries(options.senders).find(([, { scheme }]) => scheme === "none")?.[0];
  const path = (name: string): string => `/hooks/${context.connection}/${name}`;
  const receive = (sender: Sender) => (request: CollectedRequest) => {
    const { headers, body } = request;
    if (!isSigned(sender, headers, body, { now: Date.now(), toleranceSeconds: options.tolerance_s }))
      return { reply: unsigned };
    const meta = JSON.stringify({
      type: (header(headers["content-type"]) ?? "").split(";")[0]!.trim().toLowerCase(),
      headers: keptHeaders(request, signatureHeader(sender)),
    });
    return { reply: taken, keep: { meta, body } };
  };
  return {
    keys: [],
    inbox: { folder: inboxFolder(options, context), maxBytes: options.inbox_max_bytes },
    openRequestsPerSecond: options.requests_per_second,
    ...(open === undefined ? {} : { unguarded: `\`${open}\` has the scheme \`none\`, and anybody could send as it` }),
    routes: Object.entries(options.senders).map(([name, sender]) => ({
      path: path(name),
      methods: ["POST"],
      access: { sender: name },
      maxBytes: options.max_bytes,
      types: ["*"],
      receive: receive(sender),
    })),
    snippet: (url) =>
      Object.entries(options.senders)
        .map(([name, { scheme }]) => `${name} (${scheme}): ${url}${path(name)}`)
        .join("\n"),
  };
}

function keptHeaders({ headers }: CollectedRequest, signature: string | undefined): Record<string, string> {
  return Object.fromEntries(
    Object.keys(headers).flatMap((name) => {
      const value = header(headers[name], 500);
      return value === null || name === signature || leftOut.test(name) ? [] : [[name, value]];
    }),
  );
}
