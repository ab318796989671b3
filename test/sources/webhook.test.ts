import { createHmac } from "node:crypto";
import { afterAll, describe, expect, test } from "vitest";
import definition from "../../src/sources/webhook/index.ts";
import { collecting, type Collecting } from "../support/collecting.ts";

type Row = Record<string, unknown>;
const stack = new AsyncDisposableStack();
afterAll(() => stack.disposeAsync());
const webhooks = async (options: Row): Promise<Collecting> => stack.use(await collecting(definition as never, options));

const secret = "whsec_test_0123456789";
const hmac = (text: string, encoding: "hex" | "base64", algorithm = "sha256", key = secret): string =>
  createHmac(algorithm, key).update(text).digest(encoding);
const now = (): number => Math.floor(Date.now() / 1000);
/** With spaces that a parser would not give back. */
const body = '{ "id": "evt_1", "type":"charge.succeeded", "created": 1732400000, "amount": 12345678901234567890 }';

describe("signatures", () => {
  const stripe = (time: number, text = body, key = secret): Record<string, string> => ({
    "stripe-signature": `t=${time},v0=00,v1=${hmac("x", "hex")},v1=${hmac(`${time}.${text}`, "hex", "sha256", key)}`,
  });
  const senders = {
    stripe: { scheme: "stripe", secret },
    shop: { scheme: "shopify", secret },
    typeform: { scheme: "typeform", secret },
    code: { scheme: "github", secret: ["an-old-secret", secret] },
    slack: {
      scheme: "custom",
      secret,
      header: "X-Slack-Signature",
      prefix: "v0=",
      signed: "v0:{timestamp}:{body}",
      timestamp_header: "X-Slack-Request-Timestamp",
    },
    other: {
      scheme: "custom",
      secret,
      header: "X-Sum",
      algorithm: "sha512",
      encoding: "base64",
      id_header: "X-Id",
      type_header: "X-Kind",
    },
  };
  const good: Record<string, () => Record<string, string>> = {
    stripe: () => stripe(now()),
    shop: () => ({
      "x-shopify-hmac-sha256": hmac(body, "base64"),
      "x-shopify-topic": "orders/create",
      "x-shopify-event-id": "e1",
      "x-shopify-triggered-at": "2026-11-24T03:00:00.123456789Z",
    }),
    typeform: () => ({ "typeform-signature": `sha256=${hmac(body, "base64")}` }),
    code: () => ({
      "x-hub-signature-256": `sha256=${hmac(body, "hex")}`,
      "x-github-event": "push",
      "x-github-delivery": "d1",
    }),
    slack: () => ({
      "x-slack-signature": `v0=${hmac(`v0:${now()}:${body}`, "hex")}`,
      "x-slack-request-timestamp": String(now()),
    }),
    other: () => ({ "x-sum": hmac(body, "base64", "sha512"), "x-id": "7", "x-kind": "made" }),
  };

  test("of every scheme are taken, and the body is kept byte for byte", async () => {
    const server = await webhooks({ senders });
    for (const name of Object.keys(senders)) {
      const answer = await server.post(`/hooks/in/${name}`, body, { headers: good[name]!() });
      expect(`${name} ${answer.status}`).toBe(`${name} 200`);
    }
    const rows = await server.rows();
    expect(new Set(rows.map((row) => row["body"]))).toEqual(new Set([body]));
    expect(rows.map(({ _sender, event_id, type }) => [_sender, event_id, type])).toEqual([
      ["stripe", "evt_1", "charge.succeeded"],
      ["shop", "e1", "orders/create"],
      ["typeform", "3", null],
      ["code", "d1", "push"],
      ["slack", "5", null],
      ["other", "7", "made"],
    ]);
    expect(rows[0]!["time"]).toBe("2024-11-23 22:13:20+00");
    expect(rows[1]!["time"]).toBe("2026-11-24 03:00:00.123456+00");
    for (const row of rows) {
      expect(String(row["headers"])).not.toMatch(/signature|hmac|x-sum/);
      expect(String(row["headers"])).toContain("content-type");
    }
  });

  test("that do not fit are refused, and nothing of the delivery is kept", async () => {
    const server = await webhooks({ senders });
    const refused: [string, string, Record<string, string>, string?][] = [
      ["none", "stripe", {}],
      ["an old time", "stripe", stripe(now() - 301)],
      ["a time ahead", "stripe", stripe(now() + 310)],
      ["no time", "stripe", { "stripe-signature": `v1=${hmac(`.${body}`, "hex")}` }],
      ["another secret", "stripe", stripe(now(), body, "whsec_other")],
      ["of another body", "stripe", stripe(now(), "{}")],
      ["cut", "code", { "x-hub-signature-256": `sha256=${hmac(body, "hex").slice(0, 40)}` }],
      ["empty", "code", { "x-hub-signature-256": "sha256=" }],
      ["without its prefix", "code", { "x-hub-signature-256": hmac(body, "hex") }],
      ["of another encoding", "shop", { "x-shopify-hmac-sha256": hmac(body, "hex") }],
      ["a byte changed", "shop", good["shop"]!(), body.replace("evt_1", "evt_2")],
      ["of another sender", "typeform", good["code"]!()],
      [
        "an old time of a scheme",
        "slack",
        { "x-slack-signature": `v0=${hmac(`v0:1:${body}`, "hex")}`, "x-slack-request-timestamp": "1" },
      ],
    ];
    for (const [what, name, headers, text = body] of refused) {
      const answer = await server.post(`/hooks/in/${name}`, text, { headers });
      expect(`${what}: ${answer.status}`).toBe(`${what}: 401`);
      expect(await answer.text()).not.toContain("evt_");
    }
    expect((await server.post("/hooks/in/nobody", body)).status).toBe(404);
    expect((await server.post("/hooks/in/__proto__", body)).status).toBe(404);
    expect(server.server.taken()).toBe(0);
  });
});

test("a delivery that comes again is one row; bodies that are no JSON, or a form, are told apart", async () => {
  const server = await webhooks({ senders: { code: { scheme: "github", secret }, plain: { scheme: "none" } } });
  const send = (text: string, id: string, type = "application/json"): Promise<Response> =>
    server.post("/hooks/in/code", text, {
      headers: {
        "x-hub-signature-256": `sha256=${hmac(text, "hex")}`,
        "x-github-event": "issues",
        "x-github-delivery": id,
        "content-type": type,
      },
    });
  await send('{"action":"opened"}', "d1");
  await send('{"action":"opened"}', "d1");
  await send(`payload=${encodeURIComponent('{"action":"closed"}')}`, "d2", "application/x-www-form-urlencoded");
  await send("no json", "d3");
  await server.post("/hooks/in/plain", "<xml/>", { headers: { "content-type": "text/xml" } });
  await server.post("/hooks/in/plain", Buffer.from([0xff, 0xfe]), {
    headers: { "content-type": "application/octet-stream" },
  });
  const rows = await server.rows();
  expect(rows.map(({ event_id, type, body: text }) => [event_id, type, text])).toEqual([
    ["d1", "issues.opened", '{"action":"opened"}'],
    ["d2", "issues.closed", '{"action":"closed"}'],
    ["5", null, "<xml/>"],
  ]);
  expect((await server.rejected()).map(({ origin, reason }) => `${origin}: ${reason}`)).toEqual([
    "in request 4, record 0: the body cannot be read: it is not JSON",
    "in request 6, record 0: the body is not UTF-8",
  ]);
});

test("a sender that signs nothing is for this machine only", async () => {
  const failed = collecting(definition as never, { senders: { open: { scheme: "none" } } }, { host: "0.0.0.0" });
  await expect(failed).rejects.toMatchObject({
    code: "config",
    message: expect.stringContaining("`open` has the scheme `none`") as string,
  });
});
