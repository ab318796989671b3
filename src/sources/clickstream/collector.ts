import { randomUUID } from "node:crypto";
import type {
  Collected,
  CollectedRequest,
  Collector,
  CollectorContext,
  CollectorReply,
  CollectorRoute,
} from "../../core/index.ts";
import {
  header,
  inboxFolder,
  jsonTypes,
  keptAddress,
  keysOf,
  looksLikeJson,
  notJson,
  reply,
} from "../collected/index.ts";
import * as ga4 from "./ga4.ts";
import type { Options } from "./options.ts";
import * as segment from "./segment.ts";
import * as snowplow from "./snowplow.ts";

const segmentOk = reply(200, "application/json", '{"success":true}');
const snowplowOk = reply(200, "text/plain; charset=utf-8", "ok");
/** A transparent picture of one pixel. */
const pixel = reply(
  200,
  "image/gif",
  Buffer.from("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7", "base64"),
);
const ga4Ok = reply(204);

const agreed = new Set(["1", "true", "yes", "granted"]);
const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const userCookie = "sp_nuid";

/** Takes requests of Segment's HTTP API, Snowplow's tracker protocol and Google Analytics' Measurement Protocol. */
export function collector(options: Options, context: CollectorContext): Collector {
  const metaOf = (request: CollectedRequest, protocol: string, more: Record<string, unknown> = {}): string => {
    const { headers } = request;
    return JSON.stringify({
      protocol,
      path: request.path,
      ip: more["anonymous"] === true ? null : keptAddress(request.address, options.ip),
      ua: header(headers["user-agent"]),
      ...(headers["sec-gpc"] === "1" ? { gpc: true } : {}),
      ...more,
    });
  };
  const take = (request: CollectedRequest, answer: CollectorReply, meta: string): Collected => ({
    reply: answer,
    keep: { meta, body: request.body },
  });

  const segmentRoute = (path: string, maxBytes: number): CollectorRoute => ({
    path,
    methods: ["POST"],
    access: "key",
    maxBytes,
    types: jsonTypes,
    receive: (request) =>
      looksLikeJson(request.body) ? take(request, segmentOk, metaOf(request, "segment")) : { reply: notJson },
  });

  const receiveSnowplow = (request: CollectedRequest): Collected => {
    const isPost = request.method === "POST";
    if (isPost && !looksLikeJson(request.body)) return { reply: notJson };
    const anonymous = request.headers["sp-anonymous"] !== undefined;
    const user = networkUser(request, anonymous, options);
    const more = { ...(anonymous ? { anonymous } : {}), ...(user === undefined ? {} : { nuid: user.id }) };
    const plain = isPost ? snowplowOk : pixel;
    const answer = user === undefined ? plain : { ...plain, headers: [...plain.headers, "set-cookie", user.cookie] };
    const meta = metaOf(request, "snowplow", more);
    return isPost ? take(request, answer, meta) : { reply: answer, keep: { meta, body: Buffer.from(request.query) } };
  };
  const snowplowRoute = (path: string, methods: ("GET" | "POST")[]): CollectorRoute => ({
    path,
    methods,
    access: "key",
    maxBytes: snowplow.requestBytes,
    types: jsonTypes,
    receive: receiveSnowplow,
  });

  return {
    keys: keysOf(options.keys),
    inbox: { folder: inboxFolder(options, context), maxBytes: options.inbox_max_bytes },
    openRequestsPerSecond: 0,
    routes: [
      ...[...segment.types, ...segment.shortPaths.keys()].map((name) =>
        segmentRoute(`/v1/${name}`, segment.eventBytes),
      ),
      ...["batch", "import", "b"].map((name) => segmentRoute(`/v1/${name}`, segment.batchBytes)),
      snowplowRoute("/com.snowplowanalytics.snowplow/tp2", ["POST"]),
      snowplowRoute("/i", ["GET"]),
      {
        path: "/mp/collect",
        methods: ["POST"],
        access: "key",
        maxBytes: ga4.requestBytes,
        types: jsonTypes,
        // The protocol has no other answer: what cannot be read is found among the rejected.
        receive: (request) => take(request, ga4Ok, metaOf(request, "ga4", measured(request.query))),
      },
      {
        path: "/debug/mp/collect",
        methods: ["POST"],
        access: "key",
        maxBytes: ga4.requestBytes,
        types: jsonTypes,
        receive: ({ body }) => {
          const found = JSON.stringify({ validationMessages: ga4.validationMessages(body) });
          return { reply: reply(200, "application/json", found) };
        },
      },
    ],
    snippet: (url, key = "KEY") =>
      [
        "Web page:  <script>",
        `  const send = (event, properties = {}) => navigator.sendBeacon("${url}/v1/track?key=${key}", JSON.stringify({ event, properties,`,
        "    anonymousId: localStorage.id ??= crypto.randomUUID(), messageId: crypto.randomUUID(), timestamp: new Date(), sentAt: new Date(),",
        "    context: { page: { url: location.href, referrer: document.referrer } } }));",
        '  send("Page viewed");',
        "</script>",
        `Segment:   new Analytics({ writeKey: "${key}", host: "${url}" }); in browsers apiHost: "${url.replace(/^https?:\/\//, "")}/${key}/v1"`,
        `Snowplow:  endpoint "${url}/${key}"`,
        `GA4:       POST ${url}/mp/collect?measurement_id=…&api_secret=${key}`,
      ].join("\n"),
  };
}

/** What a stream is called there; the secret beside it is not kept. */
function measured(query: string): Record<string, string> {
  const parameters = new URLSearchParams(query);
  return Object.fromEntries(
    ["measurement_id", "firebase_app_id"].flatMap((name) => {
      const value = parameters.get(name);
      return value === null ? [] : [[name, value.slice(0, 100)]];
    }),
  );
}

/** The cookie that tells browsers apart, for those who agreed to it. */
function networkUser(
  { headers }: CollectedRequest,
  anonymous: boolean,
  { network_user_id: wanted }: Options,
): { id: string; cookie: string } | undefined {
  if (wanted === undefined || anonymous || headers["sec-gpc"] === "1") return undefined;
  const cookies = new Map(
    (headers.cookie ?? "").split(";").map((pair): [string, string] => {
      const at = pair.indexOf("=");
      return [pair.slice(0, at).trim(), pair.slice(at + 1).trim()];
    }),
  );
  if (!agreed.has((cookies.get(wanted.consent_cookie) ?? "").toLowerCase())) return undefined;
  const before = cookies.get(userCookie);
  const id = before !== undefined && uuid.test(before) ? before : randomUUID();
  return {
    id,
    cookie: `${userCookie}=${id}; Max-Age=${wanted.days * 86_400}; Path=/; HttpOnly; Secure; SameSite=None`,
  };
}
