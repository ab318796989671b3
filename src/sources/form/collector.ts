import { randomUUID } from "node:crypto";
import type {
  CollectedRequest,
  Collector,
  CollectorContext,
  CollectorReply,
  CollectorRoute,
} from "../../core/index.ts";
import { header, inboxFolder, looksLikeJson, notJson, reply } from "../collected/index.ts";
import type { Options } from "./options.ts";
import { formPage, pagePolicy, thanksPage } from "./page.ts";

/** Answers are text that people typed. */
const formBytes = 256 * 1024;
const ok = reply(200, "application/json", '{"success":true}');

/** Shows the form of a connection and takes its answers: `/forms/<connection>` and, by channel, `/forms/<connection>/<channel>`. */
export function collector(options: Options, context: CollectorContext): Collector {
  const page = (body: string): CollectorReply => ({
    status: 200,
    headers: [
      "content-type",
      "text/html; charset=utf-8",
      "content-security-policy",
      `${pagePolicy("'self'")}; frame-ancestors 'none'`,
      "referrer-policy",
      "no-referrer",
    ],
    body: Buffer.from(body),
  });
  const thanks = page(thanksPage(options));
  const route = (path: string, sender: string): CollectorRoute => ({
    path,
    methods: ["GET", "POST"],
    access: { sender },
    maxBytes: formBytes,
    types: ["application/x-www-form-urlencoded", "application/json"],
    origins: options.origins,
    receive(request: CollectedRequest) {
      if (request.method === "GET") return { reply: page(formPage(options, { action: path, id: randomUUID() })) };
      const type = (header(request.headers["content-type"]) ?? "").split(";")[0]!.trim().toLowerCase();
      const isJson = type === "application/json";
      if (isJson && !looksLikeJson(request.body)) return { reply: notJson };
      return { reply: isJson ? ok : thanks, keep: { meta: JSON.stringify({ type }), body: request.body } };
    },
  });
  const base = `/forms/${context.connection}`;
  return {
    keys: [],
    inbox: { folder: inboxFolder(options, context), maxBytes: options.inbox_max_bytes },
    openRequestsPerSecond: options.requests_per_second,
    routes: [
      route(base, options.channels[0]!),
      ...options.channels.map((channel) => route(`${base}/${channel}`, channel)),
    ],
    snippet: (url) =>
      options.channels.length === 1
        ? `${url}${base}`
        : options.channels.map((channel) => `${channel}: ${url}${base}/${channel}`).join("\n"),
    page: (url, channel) => {
      const action = `${url}${base}${channel === undefined ? "" : `/${channel}`}`;
      return formPage(options, { action, policy: pagePolicy(new URL(action).origin) });
    },
  };
}
