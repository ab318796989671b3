import { Analytics } from "@segment/analytics-node";
import { buildPageView, buildSelfDescribingEvent, buildStructEvent, newTracker } from "@snowplow/node-tracker";
import { gzipSync } from "node:zlib";
import { afterAll, describe, expect, test } from "vitest";
import definition from "../../src/sources/clickstream/index.ts";
import { collecting, type Collecting } from "../support/collecting.ts";

type Row = Record<string, unknown>;
const stack = new AsyncDisposableStack();
afterAll(() => stack.disposeAsync());
const clickstream = async (options: Row = {}): Promise<Collecting> =>
  stack.use(await collecting(definition as never, options));
const json = (text: unknown): unknown => JSON.parse(String(text));
const moment = (text: unknown): number => Date.parse(String(text).replace(" ", "T").replace(/\+00$/, "Z"));

describe("official senders", () => {
  test("Segment's SDK sends every kind of event, and each is a row", async () => {
    const server = await clickstream();
    const analytics = new Analytics({ writeKey: server.keys["default"]!, host: server.url, flushAt: 4, maxRetries: 0 });
    const failures: unknown[] = [];
    analytics.on("error", (error) => failures.push(error));
    const big = { order: 7, amount: 12.5, tags: ["a", "é"], nested: { deep: [1, { x: null }] } };
    analytics.track({
      userId: "u1",
      event: "Bought",
      properties: big,
      timestamp: new Date("2026-11-24T01:02:03.456Z"),
    });
    analytics.identify({ userId: "u1", traits: { plan: "free" } });
    analytics.page({ anonymousId: "a1", name: "Home", category: "Docs", properties: { url: "https://example.com/" } });
    analytics.screen({ anonymousId: "a1", name: "Start" });
    analytics.group({ userId: "u1", groupId: "g1", traits: { seats: 3 } });
    analytics.alias({ userId: "u1", previousId: "a1" });
    await analytics.closeAndFlush();
    expect(failures).toEqual([]);
    const rows = await server.rows();
    expect(rows.map(({ type, name, user_id, anonymous_id }) => [type, name, user_id, anonymous_id])).toEqual([
      ["track", "Bought", "u1", null],
      ["identify", null, "u1", null],
      ["page", "Home", null, "a1"],
      ["screen", "Start", null, "a1"],
      ["group", null, "u1", null],
      ["alias", null, "u1", null],
    ]);
    expect(json(rows[0]!["properties"])).toEqual(big);
    expect(json(rows[1]!["properties"])).toEqual({ plan: "free" });
    expect(json(rows[2]!["_rest"])).toMatchObject({ category: "Docs" });
    expect(json(rows[4]!["_rest"])).toMatchObject({ groupId: "g1" });
    expect(json(rows[5]!["_rest"])).toMatchObject({ previousId: "a1" });
    expect(json(rows[0]!["context"])).toMatchObject({ library: { name: "@segment/analytics-node" } });
    // One machine, one clock: what is left of the correction is the way through the network.
    expect(Math.abs(moment(rows[0]!["time"]) - Date.parse("2026-11-24T01:02:03.456Z"))).toBeLessThan(60_000);
    expect(moment(rows[0]!["original_time"])).toBe(Date.parse("2026-11-24T01:02:03.456Z"));
    expect(new Set(rows.map(({ event_id }) => event_id)).size).toBe(6);
    expect(new Set(rows.map(({ ip }) => ip))).toEqual(new Set(["127.0.0.0"]));
    expect(await server.rejected().catch(() => [])).toEqual([]);
  });

  test.each(["post", "get"] as const)("Snowplow's tracker sends by %s", async (eventMethod) => {
    const server = await clickstream();
    const statuses: number[] = [];
    const tracker = newTracker(
      { namespace: "n", appId: "shop", encodeBase64: eventMethod === "get" },
      {
        endpoint: `${server.url}/${server.keys["default"]}`,
        eventMethod,
        bufferSize: 3,
        customFetch: async (...call: Parameters<typeof fetch>) => {
          const response = await fetch(...call);
          statuses.push(response.status);
          return response;
        },
      },
    );
    tracker.setUserId("u1");
    tracker.setDomainUserId("d1");
    const context = [{ schema: "iglu:com.example/cart/jsonschema/1-0-0", data: { items: 2 } }];
    tracker.track(
      buildPageView({ pageUrl: "https://example.com/ü", pageTitle: "Home", referrer: "https://r.example/" }),
    );
    tracker.track(buildStructEvent({ category: "shop", action: "add", label: "sku", value: 2.5 }));
    const event = { schema: "iglu:com.example/bought/jsonschema/1-0-0", data: { order: 7, name: "Zoë" } };
    tracker.track(buildSelfDescribingEvent({ event }), context);
    await tracker.flush();
    await expect.poll(() => statuses.length).toBe(eventMethod === "get" ? 3 : 1);
    expect(new Set(statuses)).toEqual(new Set([200]));
    const rows = await server.rows('select * from "all" order by type, name');
    expect(
      rows.map(({ type, name, user_id, anonymous_id, protocol }) => [type, name, user_id, anonymous_id, protocol]),
    ).toEqual([
      ["page", "Home", "u1", "d1", "snowplow"],
      ["track", "add", "u1", "d1", "snowplow"],
      ["track", "bought", "u1", "d1", "snowplow"],
    ]);
    expect(json(rows[0]!["properties"])).toEqual({
      url: "https://example.com/ü",
      title: "Home",
      referrer: "https://r.example/",
    });
    expect(json(rows[1]!["properties"])).toEqual({ category: "shop", action: "add", label: "sku", value: "2.5" });
    expect(json(rows[2]!["properties"])).toEqual({ order: 7, name: "Zoë" });
    expect(json(rows[2]!["context"])).toMatchObject({ contexts: context, aid: "shop", tna: "n" });
    expect(rows.every(({ time, received_at }) => moment(time) <= moment(received_at))).toBe(true);
  });

  test("Google's Measurement Protocol is taken in, and its debug endpoint validates without keeping", async () => {
    const server = await clickstream();
    const path = `measurement_id=G-1&api_secret=${server.keys["default"]}`;
    const request = {
      client_id: "c.1",
      user_id: "u1",
      timestamp_micros: "1763942400123456",
      ip_override: "203.0.113.7",
      consent: { ad_user_data: "GRANTED" },
      events: [
        { name: "page_view", params: { page_location: "https://example.com" } },
        { name: "purchase", params: { value: 9.99 } },
      ],
    };
    const answer = await server.post(`/mp/collect?${path}`, request, { key: "none-of-the-keys-here" });
    expect(answer.status).toBe(401);
    const send = (where: string, body: unknown): Promise<Response> =>
      fetch(`${server.url}${where}?${path}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
      });
    expect((await send("/mp/collect", request)).status).toBe(204);
    expect(
      (await send("/mp/collect", { client_id: "c", events: Array.from({ length: 26 }, () => ({ name: "tap" })) }))
        .status,
    ).toBe(204);
    const valid = await send("/debug/mp/collect", request);
    expect([valid.status, await valid.json()]).toEqual([200, { validationMessages: [] }]);
    const wrong = await send("/debug/mp/collect", { events: [{ name: "<b>" }, { name: "session_start" }] });
    const { validationMessages } = (await wrong.json()) as {
      validationMessages: { fieldPath: string; validationCode: string }[];
    };
    expect(validationMessages.map(({ fieldPath, validationCode }) => `${fieldPath} ${validationCode}`)).toEqual([
      "client_id VALUE_REQUIRED",
      "events[0].name NAME_INVALID",
      "events[1].name NAME_RESERVED",
    ]);
    expect(JSON.stringify(validationMessages)).not.toContain("<b>");
    const rows = await server.rows();
    expect(rows.length).toBe(27);
    expect(rows[0]).toMatchObject({
      type: "page",
      name: "page_view",
      user_id: "u1",
      anonymous_id: "c.1",
      event_id: "1-0",
    });
    expect(moment(rows[1]!["time"])).toBe(1_763_942_400_123);
    expect(json(rows[0]!["context"])).toEqual({ measurement_id: "G-1" });
    expect(json(rows[0]!["consent"])).toEqual({ ad_user_data: "GRANTED" });
    expect((await server.rejected()).map(({ reason }) => reason)).toEqual(["a request has at most 25 events"]);
  });
});

describe("what is read", () => {
  test("bad events are set aside with reason and origin, and their neighbours stay", async () => {
    const server = await clickstream();
    const good = (id: string, more: Row = {}): Row => ({
      type: "track",
      event: "E",
      userId: "u",
      messageId: id,
      ...more,
    });
    const batch = [
      good("1"),
      { ...good("2"), type: "dance" },
      good("3", { properties: { text: "x".repeat(33 * 1024) } }),
      "no object",
      { type: "track", userId: "u" },
      { type: "page" },
      good("4"),
    ];
    expect((await server.post("/v1/batch", { batch })).status).toBe(200);
    expect((await server.post("/v1/track", '{"a": {]}')).status).toBe(200);
    expect((await server.post("/v1/batch", { no: "batch" })).status).toBe(200);
    expect((await server.post("/v1/track", `{"userId":"u","event":${"[".repeat(101)}${"]".repeat(101)}}`)).status).toBe(
      200,
    );
    expect((await server.rows()).map(({ event_id }) => event_id)).toEqual(["1", "4"]);
    expect((await server.rejected()).map(({ origin, reason }) => `${origin}: ${reason}`)).toEqual(
      [
        "in request 1, record 1: the event has no known `type`",
        "in request 1, record 2: the event has more than 32768 bytes",
        "in request 1, record 3: the event is no object",
        "in request 1, record 4: the event has neither a name nor more",
        "in request 1, record 5: the event has neither `userId` nor `anonymousId`",
        "in request 2, record 0: the request cannot be read: it is not JSON",
        "in request 3, record 0: the request has no list `batch`",
        "in request 4, record 0: the request cannot be read: the JSON is nested more than 100 deep",
      ].map((line) => line.replace("neither a name nor more", "no name in `event`")),
    );
  });

  test("numbers of any length, double members and names such as __proto__ go on as they came", async () => {
    const server = await clickstream();
    const properties =
      '{"n":12345678901234567890.10,"a":1,"a":2,"10":0,"2":0,"__proto__":{"polluted":true},"constructor":1,"e":1e999}';
    await server.post(
      "/v1/track",
      `{"userId":"u","event":"E","messageId":"m","properties":${properties},"__proto__":{"isAdmin":true}}`,
    );
    const [row] = await server.rows();
    expect(row!["properties"]).toBe(properties);
    expect(row!["_rest"]).toBe('{"__proto__":{"isAdmin":true}}');
    expect(({} as Row)["polluted"] ?? ({} as Row)["isAdmin"]).toBeUndefined();
  });

  test("an id that comes again with its key is one row, whatever is read again; another key has its own", async () => {
    const server = await clickstream({ keys: { web: {}, app: {} }, part_requests: 2 });
    const event = (messageId: string): Row => ({ type: "track", event: "E", userId: "u", messageId });
    const send = (ids: string[], key: string): Promise<Response> =>
      server.post("/v1/batch", { batch: ids.map(event) }, { key: server.keys[key]! });
    await send(["a", "b", "a"], "web");
    await send(["b", "c"], "web");
    await send(["a"], "app");
    const places = ({ _sender, event_id, _row, _index }: Row): string =>
      `${String(_sender)} ${String(event_id)} ${String(_row)}:${String(_index)}`;
    expect((await server.rows()).map(places)).toEqual(["web a 1:0", "web b 1:1", "web c 2:1", "app a 3:0"]);
    await send(["c", "d"], "web");
    await server.post("/v1/track", { event: "no id", userId: "u" }, { key: server.keys["web"]! });
    await server.post("/v1/track", { event: "no id", userId: "u" }, { key: server.keys["web"]! });
    expect((await server.rows()).slice(4).map(places)).toEqual(["web d 4:1", "web 5-0 5:0", "web 6-0 6:0"]);
  });

  test("clocks: skew is taken out, the future is now, and what was said is kept beside", async () => {
    const server = await clickstream();
    const hour = 3_600_000;
    const now = Date.now();
    const at = (offset: number): string => new Date(now + offset).toISOString();
    const batch = [
      { timestamp: at(5 * hour - 60_000), sentAt: at(5 * hour) },
      { timestamp: "2099-01-01T00:00:00Z" },
      { timestamp: "1970-01-01T00:00:00Z" },
      { timestamp: "yesterday", sentAt: "2026-02-31T00:00:00Z" },
      { timestamp: "2020-02-29T12:00:00.123456+02:00" },
    ].map((times) => ({ type: "track", event: "E", userId: "u", ...times }));
    await server.post("/v1/batch", { batch });
    const rows = await server.rows();
    const received = moment(rows[0]!["received_at"]);
    expect(Math.abs(moment(rows[0]!["time"]) - (received - 60_000))).toBeLessThan(2);
    expect(rows[1]).toMatchObject({ time: rows[1]!["received_at"], original_time: "2099-01-01 00:00:00+00" });
    expect(rows[2]).toMatchObject({ time: "1970-01-01 00:00:00+00", sent_at: null });
    expect(rows[3]).toMatchObject({ time: rows[3]!["received_at"], original_time: null, sent_at: null });
    expect(rows[4]).toMatchObject({ time: "2020-02-29 10:00:00.123456+00" });
  });

  test("people who did not agree are not told apart; crawlers are flagged or left out", async () => {
    const consent = (Analytics_: boolean): Row => ({
      context: { ip: "203.0.113.77", consent: { categoryPreferences: { Analytics: Analytics_ } } },
    });
    const send = async (server: Collecting): Promise<void> => {
      const page = (id: string, more: Row = {}): Row => ({ type: "page", userId: id, anonymousId: id, ...more });
      await server.post(
        "/v1/batch",
        { batch: [page("yes", consent(true)), page("no", consent(false)), page("unasked")] },
        { headers: { "user-agent": "Firefox" } },
      );
      await server.post(
        "/v1/batch",
        { batch: [page("gpc", consent(true))] },
        { headers: { "user-agent": "Firefox", "sec-gpc": "1" } },
      );
      await server.post(
        "/v1/batch",
        { batch: [page("bot", consent(true))] },
        { headers: { "user-agent": "Mozilla/5.0 (compatible; Googlebot/2.1)" } },
      );
    };
    const anonymising = await clickstream({ consent: { category: "Analytics" } });
    await send(anonymising);
    const rows = await anonymising.rows();
    expect(
      rows.map(({ user_id, anonymous_id, ip, user_agent, bot, gpc }) => [
        user_id,
        anonymous_id,
        ip,
        user_agent,
        bot,
        gpc,
      ]),
    ).toEqual([
      ["yes", "yes", "127.0.0.0", "Firefox", false, false],
      [null, null, null, null, false, false],
      [null, null, null, null, false, false],
      [null, null, null, null, false, true],
      ["bot", "bot", "127.0.0.0", "Mozilla/5.0 (compatible; Googlebot/2.1)", true, false],
    ]);
    expect(json(rows[0]!["context"])).toMatchObject({ ip: "203.0.113.0" });
    expect(rows[1]!["context"]).toBeNull();
    const dropping = await clickstream({
      consent: { category: "Analytics", without: "drop" },
      bots: "drop",
      ip: "none",
    });
    await send(dropping);
    const kept = await dropping.rows();
    expect(kept.map(({ user_id, ip, context }) => [user_id, ip, json(context)])).toEqual([
      ["yes", null, { ip: null, consent: { categoryPreferences: { Analytics: true } } }],
    ]);
  });

  test("gzip is unpacked, and beacons come as text", async () => {
    const server = await clickstream({ keys: { web: { origins: ["https://example.com"] } } });
    const event = { userId: "u", event: "E" };
    const packed = await server.post("/v1/track", gzipSync(JSON.stringify(event)), {
      headers: { "content-encoding": "gzip" },
    });
    const beacon = await fetch(`${server.url}/v1/track?key=${server.keys["web"]}`, {
      method: "POST",
      headers: { "content-type": "text/plain;charset=UTF-8", origin: "https://example.com" },
      body: JSON.stringify(event),
    });
    // As Analytics.js in a browser with `apiHost: "<host>/<key>/v1"`.
    const browser = await fetch(`${server.url}/${server.keys["web"]}/v1/t`, {
      method: "POST",
      headers: { "content-type": "text/plain", origin: "https://example.com" },
      body: JSON.stringify({ ...event, event: "F", type: "track", writeKey: "whatever" }),
    });
    expect([packed.status, beacon.status, browser.status]).toEqual([200, 200, 200]);
    expect((await server.rows()).map(({ name }) => name)).toEqual(["E", "E", "F"]);
  });

  test("Snowplow's cookie is for those who agreed", async () => {
    const server = await clickstream({ network_user_id: { consent_cookie: "consent" } });
    const ask = async (headers: Record<string, string>): Promise<string | null> => {
      const url = `${server.url}/${server.keys["default"]}/i?e=pv&page=p`;
      return (await fetch(url, { headers })).headers.get("set-cookie");
    };
    const given = await ask({ cookie: "consent=granted" });
    const id = /^sp_nuid=([0-9a-f-]{36}); Max-Age=31536000; Path=\/; HttpOnly; Secure; SameSite=None$/.exec(
      given ?? "",
    )?.[1];
    expect(id).toBeDefined();
    expect(await ask({ cookie: `consent=granted; sp_nuid=${id}` })).toBe(given);
    expect(await ask({})).toBeNull();
    expect(await ask({ cookie: "consent=no" })).toBeNull();
    expect(await ask({ cookie: "consent=1", "sp-anonymous": "*" })).toBeNull();
    expect(await ask({ cookie: "consent=1", "sec-gpc": "1" })).toBeNull();
    expect(await ask({ cookie: 'consent=1; sp_nuid="><script>' })).not.toContain("script");
    const rows = await server.rows();
    expect(rows.slice(0, 2).map(({ anonymous_id }) => anonymous_id)).toEqual([id, id]);
    expect(rows[4]).toMatchObject({ anonymous_id: null, ip: null });
  });

  test("sessions are derived by the query of the guide", async () => {
    const server = await clickstream();
    const visit = (user: string, minute: number): Row => ({
      type: "page",
      anonymousId: user,
      timestamp: new Date(Date.UTC(2026, 0, 1, 0, minute)).toISOString(),
    });
    await server.post("/v1/batch", {
      batch: [visit("a", 0), visit("a", 29), visit("b", 30), visit("a", 58), visit("a", 89), visit("b", 61)],
    });
    await server.rows();
    const sql = await sessionsOfGuide();
    const { rows } = await (await server.lake()).query(sql.replaceAll("clicks", '"all"'));
    expect(
      (rows as Row[]).map(({ visitor, session, events }) => `${String(visitor)} ${String(session)} ${String(events)}`),
    ).toEqual(["a 1 3", "a 2 1", "b 1 1", "b 2 1"]);
  });
});

async function sessionsOfGuide(): Promise<string> {
  const { readFile } = await import("node:fs/promises");
  const guide = await readFile(new URL("../../docs/guide/collect.md", import.meta.url), "utf8");
  return /```sql\n(with visits[^]*?)```/.exec(guide)![1]!;
}
