import { existsSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { messagesOfJson } from "../../src/formats/chat/json.ts";
import { readWhatsapp } from "../../src/formats/chat/whatsapp.ts";
import { openLake, type Lake } from "../../src/index.ts";

const corpus = join(import.meta.dirname, "../../../shared/corpora/good/chat");
let folder: string;
let count = 0;

async function lakeOf(from: Record<string, unknown>): Promise<Lake> {
  const flows = { chat: { from: { format: "chat", ...from } } };
  await writeFile(join(folder, "millrace.yaml"), JSON.stringify({ store: `./lake-${count++}`, flows }));
  return openLake({ folder });
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-chat-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe.skipIf(!existsSync(corpus))("exports as people have them", () => {
  test("every message of every platform is there", async () => {
    const facts = (
      JSON.parse(readFileSync(join(corpus, "expected.json"), "utf8")) as {
        files: Record<string, { messages?: number; length?: number; stamped_lines?: number }>;
      }
    ).files;
    await using lake = await lakeOf({ path: `${corpus}/*` });
    const report = await lake.run("chat");
    // The list of facts itself is no chat.
    expect(report.rejected).toBe(1);
    const { rows } = await lake.query(
      "select parse_filename(uri) as file, count(*)::int as n, count(sent_at)::int as timed, min(platform) as platform from chat group by 1",
    );
    const found = Object.fromEntries((rows as { file: string; n: number }[]).map(({ file, n }) => [file, n]));
    for (const [file, { messages, length, stamped_lines: stamps }] of Object.entries(facts)) {
      expect({ file, n: found[file] }).toEqual({ file, n: messages ?? length ?? stamps });
    }
    for (const row of rows as { n: number; timed: number }[]) expect(row.timed).toBe(row.n);
    const slack = (await lake.query("select * exclude (bytes) from chat where platform = 'slack'")).rows as Record<
      string,
      unknown
    >[];
    expect(new Set(slack.map((row) => row["conversation"]))).toEqual(new Set(["enrique", "traveling-sailor"]));
    expect(slack.every((row) => String(row["conversation_id"]).startsWith("C0J"))).toBe(true);
    expect(slack.filter((row) => /<[@#]/.test(String(row["text"])))).toEqual([]);
    expect(new Set(slack.map((row) => row["message_id"])).size).toBeGreaterThan(150);
    // The bytes of an export are kept once, not with each of its messages.
    expect((await lake.query("select count(bytes)::int as n from chat where platform = 'slack'")).rows).toEqual([
      { n: 1 },
    ]);
  });

  test("with pseudonyms nobody is named, and the same person has one name everywhere", async () => {
    const path = `${corpus}/slack*.zip`;
    await using open = await lakeOf({ path });
    await open.run("chat");
    const named = (await open.query("select distinct author, author_id from chat where author_id is not null"))
      .rows as { author: string; author_id: string }[];
    await using lake = await lakeOf({
      path,
      options: { pseudonyms: "a secret of some length" },
      assets: { keep: false },
    });
    await lake.run("chat");
    const hidden = (await lake.query("select distinct author from chat where author is not null")).rows as {
      author: string;
    }[];
    expect(hidden.length).toBe(new Set(named.map((row) => row.author_id)).size);
    for (const { author } of hidden) expect(author).toMatch(/^user-[0-9a-f]{12}$/);
    const rest = JSON.stringify((await lake.query("select * exclude (text) from chat")).rows, (_, value: unknown) =>
      typeof value === "bigint" ? String(value) : value,
    );
    for (const { author_id: id } of named) expect(rest).not.toContain(id);
    expect((await lake.query("select text from chat where regexp_matches(text, '@U0[0-9A-Z]+')")).rows).toEqual([]);
  });
});

test("WhatsApp: order of the date, zone, several lines, media, deleted and system messages", () => {
  const read = (text: string, more: object = {}): object[] => [
    ...readWhatsapp(text, "Family", { time_zone: "UTC", date_order: "auto", ...more }),
  ];
  const german = read(
    "01.02.24, 09:05 - Nachrichten sind Ende-zu-Ende-verschlüsselt.\n01.02.24, 09:06 - Ada: Hallo\nzweite Zeile: mit Doppelpunkt\n31.07.24, 22:00 - Bob: IMG-1.jpg (Datei angehängt)\n",
    { time_zone: "Europe/Berlin" },
  );
  expect(german).toMatchObject([
    { kind: "system", sentAt: Date.UTC(2024, 1, 1, 8, 5), text: expect.stringContaining("verschlüsselt") as string },
    {
      kind: "message",
      author: "Ada",
      text: "Hallo\nzweite Zeile: mit Doppelpunkt",
      sentAt: Date.UTC(2024, 1, 1, 8, 6),
    },
    { author: "Bob", sentAt: Date.UTC(2024, 6, 31, 20, 0) },
  ]);
  const american = read(
    "[2/1/24, 12:05:09\u202fAM] Ada: \u200e<attached: 1-PHOTO.jpg>\n[2/13/24, 1:00:00\u202fPM] ~ Bob: This message was deleted",
  );
  expect(american).toMatchObject([
    { author: "Ada", sentAt: Date.UTC(2024, 1, 1, 0, 5, 9), text: "", attachments: [{ name: "1-PHOTO.jpg" }] },
    { author: "Bob", kind: "deleted", sentAt: Date.UTC(2024, 1, 13, 13) },
  ]);
  expect(read("3/4/24, 10:00 - A: x", { date_order: "day-first" })).toMatchObject([
    { sentAt: Date.UTC(2024, 3, 3, 10) },
  ]);
  expect(() => read("no chat at all")).toThrow(/no export/);
});

test("Discord, Teams, Telegram and Messenger", () => {
  const discord = messagesOfJson(
    {
      guild: { name: "Guild" },
      channel: { id: "11", name: "general" },
      messages: [
        {
          id: "1",
          type: "Default",
          timestamp: "2024-05-01T10:00:00.123+02:00",
          content: "hi",
          author: { id: "9", name: "ada", nickname: "Ada", isBot: false },
          attachments: [{ fileName: "a.png", url: "https://x/a.png", fileSizeBytes: 5 }],
          reactions: [{ emoji: { name: "👍" }, count: 2 }],
        },
        {
          id: "2",
          type: "Reply",
          timestamp: "2024-05-01T08:01:00+00:00",
          content: "yo",
          author: { id: "8", name: "bot", isBot: true },
          reference: { messageId: "1" },
        },
      ],
    },
    "x",
  )!;
  expect([...discord]).toMatchObject([
    {
      conversation: "Guild/general",
      sentAt: Date.UTC(2024, 4, 1, 8, 0, 0, 123),
      author: "Ada",
      attachments: [{ name: "a.png", size: 5 }],
      reactions: [{ name: "👍", count: 2 }],
    },
    { replyTo: "1", isBot: true },
  ]);
  const own = messagesOfJson(
    [
      {
        ID: "175928847299117063",
        Timestamp: "2016-04-30 11:18:25",
        Contents: "old",
        Attachments: "https://x/1 https://x/2",
      },
    ],
    "messages/c175928847299117000/messages.json",
  )!;
  expect([...own]).toMatchObject([
    {
      sentAt: 1462015105796,
      conversationId: "175928847299117000",
      attachments: [{ url: "https://x/1" }, { url: "https://x/2" }],
    },
  ]);
  const teams = messagesOfJson(
    {
      "@odata.context": "x",
      value: [
        {
          id: "1",
          messageType: "message",
          createdDateTime: "2024-01-02T03:04:05.6Z",
          from: { user: { id: "u", displayName: "Ada" } },
          body: { contentType: "html", content: "<p>a <b>b</b></p>" },
          replyToId: "0",
        },
        {
          id: "2",
          deletedDateTime: "2024-01-02T03:04:05Z",
          createdDateTime: "2024-01-02T03:04:05Z",
          body: { content: "" },
        },
      ],
    },
    "x",
  )!;
  expect([...teams]).toMatchObject([
    { text: "a b", author: "Ada", threadId: "0", kind: "message" },
    { kind: "deleted" },
  ]);
  const telegram = messagesOfJson(
    {
      chats: {
        list: [
          {
            name: "C",
            id: 5,
            messages: [
              { id: 1, type: "service", action: "invite", date: "2024-01-01T00:00:00", date_unixtime: "1704067200" },
              {
                id: 2,
                type: "message",
                from: "A",
                from_id: "user1",
                text: ["see ", { type: "link", text: "https://x" }],
                reply_to_message_id: 1,
                date_unixtime: "1704067201",
              },
            ],
          },
        ],
      },
    },
    "x",
  )!;
  expect([...telegram]).toMatchObject([
    { kind: "system", text: "invite", sentAt: 1704067200000 },
    { text: "see https://x", replyTo: "1", conversation: "C" },
  ]);
  const messenger = messagesOfJson(
    {
      participants: [],
      title: "T",
      messages: [{ sender_name: "Ren\u00c3\u00a9", timestamp_ms: 5, content: "\u00e2\u0082\u00ac" }],
    },
    "x",
  )!;
  expect([...messenger]).toMatchObject([{ author: "René", text: "€" }]);
  expect(messagesOfJson({ a: 1 }, "x")).toBeUndefined();
});

test("what is no chat is rejected with its reason, and the others go on", async () => {
  const exports = join(folder, "exports");
  await mkdir(exports, { recursive: true });
  await writeFile(join(exports, "good.txt"), "1/23/24, 10:00 - Ada: hello\n");
  await writeFile(join(exports, "cut.json"), '{"messages": [{"id": 1');
  await writeFile(join(exports, "other.json"), '{"rows": []}');
  await writeFile(join(exports, "noise.txt"), "nothing\nhere");
  await writeFile(join(exports, "deep.json"), "[".repeat(200_000));
  await using lake = await lakeOf({ path: "exports/*" });
  expect(await lake.run("chat")).toMatchObject({ written: 1, rejected: 4 });
  const { rows } = await lake.query("select reason from chat__rejected");
  for (const { reason } of rows as { reason: string }[]) expect(reason).toMatch(/no JSON|no export|structure/);
});
