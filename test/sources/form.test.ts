import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import definition from "../../src/sources/form/index.ts";
import { millrace } from "../cli/millrace.ts";
import { collecting, type Collecting } from "../support/collecting.ts";

type Row = Record<string, unknown>;
const stack = new AsyncDisposableStack();
afterAll(() => stack.disposeAsync());
const nasty = `"><script>alert('1')</script>&`;
const survey = {
  title: `How? ${nasty}`,
  intro: nasty,
  language: "en",
  channels: ["email", "web"],
  questions: {
    recommend: { kind: "nps", text: "Recommend?", required: true, low: nasty, high: "very", help: nasty },
    satisfied: { kind: "csat", text: "Satisfied?" },
    stars: { kind: "rating", text: "Stars?", maximum: 4 },
    why: { kind: "text", text: `Why? ${nasty}`, max_length: 20 },
    plan: { kind: "choice", text: "Plan?", choices: ["free", nasty] },
    liked: { kind: "choice", text: "Liked?", choices: ["a", "b", "c"], multiple: true },
  },
};
const forms = async (): Promise<Collecting> => stack.use(await collecting(definition as never, survey));
const send = (server: Collecting, answers: [string, string][], path = "/forms/in"): Promise<Response> =>
  fetch(`${server.url}${path}`, { method: "POST", body: new URLSearchParams(answers) });

test("answers arrive with score and class; those that cannot be are set aside", async () => {
  const server = await forms();
  const scores = Array.from({ length: 11 }, (_, score) => score);
  for (const score of scores)
    await send(server, [
      ["recommend", String(score)],
      ["satisfied", String((score % 5) + 1)],
    ]);
  await send(
    server,
    [
      ["recommend", "9"],
      ["stars", "4"],
      ["why", "line\r\nbreak Zoë"],
      ["plan", nasty],
      ["liked", "a"],
      ["liked", "c"],
      ["liked", "a"],
    ],
    "/forms/in/web",
  );
  const rows = await server.rows();
  expect(
    rows.slice(0, 11).map(({ recommend, recommend_class }) => `${String(recommend)} ${String(recommend_class)}`),
  ).toEqual([
    ...scores.slice(0, 7).map((score) => `${score} detractor`),
    "7 passive",
    "8 passive",
    "9 promoter",
    "10 promoter",
  ]);
  expect(
    rows.slice(0, 5).map(({ satisfied, satisfied_class }) => `${String(satisfied)} ${String(satisfied_class)}`),
  ).toEqual(["1 unsatisfied", "2 unsatisfied", "3 unsatisfied", "4 satisfied", "5 satisfied"]);
  expect(rows[11]).toMatchObject({
    _sender: "web",
    stars: 4,
    why: "line\nbreak Zoë",
    plan: nasty,
    liked: ["a", "c"],
    satisfied: null,
  });
  expect(rows[0]!["_sender"]).toBe("email");

  const wrong: [string, string][][] = [
    [["satisfied", "3"]],
    [["recommend", "11"]],
    [["recommend", "-1"]],
    [
      ["recommend", "1"],
      ["recommend", "2"],
    ],
    [
      ["recommend", "1"],
      ["why", "x".repeat(21)],
    ],
    [
      ["recommend", "1"],
      ["plan", "gold"],
    ],
    [
      ["recommend", "1"],
      ["plan", "free"],
      ["plan", nasty],
    ],
  ];
  for (const answers of wrong) expect((await send(server, answers)).status).toBe(200);
  // A program that fills in everything.
  await send(server, [
    ["recommend", "5"],
    ["website_address", "https://spam.example"],
  ]);
  expect(await server.rows()).toHaveLength(12);
  expect((await server.rejected()).map(({ reason }) => reason)).toEqual([
    "`recommend` is not answered",
    "the answer to `recommend` is none of those that it can have",
    "the answer to `recommend` is none of those that it can have",
    "the answer to `recommend` is none of those that it can have",
    "the answer to `why` is none of those that it can have",
    "the answer to `plan` is none of those that it can have",
    "the answer to `plan` is none of those that it can have",
  ]);
});

test("the page is accessible, loads nothing, runs nothing, and sent twice is one answer", async () => {
  const server = await forms();
  const response = await fetch(`${server.url}/forms/in/web`);
  const page = await response.text();
  expect(response.headers.get("content-type")).toBe("text/html; charset=utf-8");
  const policy = response.headers.get("content-security-policy")!;
  expect(policy).toMatch(
    /^default-src 'none'; style-src 'sha256-[^']+'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'$/,
  );
  expect(response.headers.get("set-cookie")).toBeNull();
  expect(response.headers.get("referrer-policy")).toBe("no-referrer");
  expect(page).not.toMatch(/<script|<img|<iframe|<link|@import|url\(|\son\w+=|https?:/);
  expect(page).toContain("&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;");
  expect(page).toMatch(/<html lang="en">/);
  expect(page.match(/<h1>/g)).toHaveLength(1);
  // Every control has a label: inputs stand in one, the others are named by one.
  const controls = [...page.matchAll(/<(?:input|textarea)[^>]*>/g)]
    .map(([tag]) => tag)
    .filter((tag) => !tag.includes('type="hidden"'));
  expect(controls).toHaveLength(11 + 5 + 4 + 1 + 2 + 3 + 1);
  for (const tag of controls) {
    const id = / id="([^"]+)"/.exec(tag)?.[1];
    const isLabelled =
      id === undefined
        ? new RegExp(`<label[^>]*>[^<]*${escapeRegExp(tag)}`).test(page)
        : page.includes(`<label for="${id}">`);
    expect(`${tag} ${isLabelled}`).toBe(`${tag} true`);
  }
  expect(page.match(/<fieldset/g)).toHaveLength(5);
  expect(page.match(/<legend>/g)).toHaveLength(5);
  expect(page).toMatch(/name="recommend" value="0" aria-label="0, [^"]*" required/);
  const ids = [...page.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id);
  expect(new Set(ids).size).toBe(ids.length);

  const id = /name="answer_id" value="([0-9a-f-]{36})"/.exec(page)![1]!;
  for (let time = 0; time < 2; time++) {
    const thanks = await send(
      server,
      [
        ["recommend", "9"],
        ["answer_id", id],
      ],
      "/forms/in/web",
    );
    expect(thanks.status).toBe(200);
    expect(await thanks.text()).toContain('<p role="status">Thank you.</p>');
  }
  const json = await server.post("/forms/in", { recommend: 3, liked: ["b"] });
  expect(await json.json()).toEqual({ success: true });
  const rows = await server.rows();
  expect(rows.map(({ answer_id, recommend, liked }): Row => ({ answer_id, recommend, liked }))).toEqual([
    { answer_id: id, recommend: 9, liked: null },
    { answer_id: "3", recommend: 3, liked: ["b"] },
  ]);
  expect(Object.keys(rows[0]!).filter((name) => /ip|agent|cookie/.test(name))).toEqual([]);
});

test("`millrace forms` writes the page; it sends to where it is told", async () => {
  const server = await forms();
  const written = await millrace(server.folder, [
    "forms",
    "in",
    "--html",
    "form.html",
    "--url",
    "https://collect.example.com/",
    "--channel",
    "web",
  ]);
  expect([written.code, written.stdout.trim()]).toEqual([0, "form.html: sends to https://collect.example.com"]);
  const page = await readFile(join(server.folder, "form.html"), "utf8");
  expect(page).toContain('action="https://collect.example.com/forms/in/web"');
  expect(page).toMatch(
    /<meta http-equiv="Content-Security-Policy" content="default-src &#39;none&#39;; [^"]*form-action https:\/\/collect\.example\.com;/,
  );
  expect(page).not.toContain("<script");
  const wrong = await millrace(server.folder, ["forms", "in", "--html", "x.html", "--channel", "fax"]);
  expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining("`in` has no channel `fax`")]);
});

const escapeRegExp = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
