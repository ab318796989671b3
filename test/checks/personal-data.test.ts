import { readdir, readFile } from "node:fs/promises";
import { join, relative, sep } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { hasPersonalData, personalKindNames, sqlString, type Sql } from "../../src/core/index.ts";
import { isRowLocal } from "../../src/pipeline/row-local.ts";
import { errorOf } from "../contracts/support/observe.ts";
import { naughtyStrings } from "../contracts/support/names.ts";
import { makePlace, published, rowsOf } from "../pipeline/place.ts";
import { pythonEnvironment, runPython } from "../services/python.ts";
import { ask, openTestEngine, type TestEngine } from "./engine.ts";

let engine: TestEngine;
beforeAll(async () => {
  engine = await openTestEngine();
});
afterAll(async () => {
  await engine[Symbol.asyncDispose]();
});

const listOf = (texts: readonly string[]): Sql => `(SELECT unnest([${texts.map(sqlString).join(", ")}]) AS text)`;
const found = `list_filter([${personalKindNames.map((kind) => `CASE WHEN ${hasPersonalData(kind, "text")} THEN '${kind}' END`).join(", ")}], lambda kind: kind IS NOT NULL)`;

/** Each text and what becomes of it. What stays is no personal data, or not surely. */
const masks: readonly (readonly [string, string])[] = [
  ["mail anna.müller+x@exämple.co.uk now, not icon@2x.png or @anna or a@b", "mail [email] now, not icon@2x.png or @anna or a@b"],
  ["(o_b@mail.example.org)<x@y.de>", "([email])<[email]>"],
  ["12 4111 1111 1111 1111, 4111-1111-1111-1111; 378282246310005", "12 [card], [card]; [card]"],
  ["4111111111111112 0.4111111111111111 41111111111111110 A4111111111111111", "4111111111111112 0.4111111111111111 41111111111111110 A4111111111111111"],
  ["DE89 3704 0044 0532 0130 00 BIC GB29NWBK60161331926819", "[iban] BIC [iban]"],
  ["DE88370400440532013000 is mistyped", "DE88370400440532013000 is mistyped"],
  ["078-05-1120, 666-12-1234, 078-05-1120-1", "[us-ssn], 666-12-1234, 078-05-1120-1"],
  ["AB 12 34 56 C, AB123456C, GB123456A, AB123456E", "[uk-nino], [uk-nino], GB123456A, AB123456E"],
  ["86095742719; 86 095 742 719; 86095742718", "[de-tax-id]; [de-tax-id]; 86095742718"],
  ["2 55 08 14 168 025 38, 255081416802538, 255081416802539", "[fr-nir], [fr-nir], 255081416802539"],
  ["12345678Z, X1234567L, 12345678A", "[es-dni], [es-dni], 12345678A"],
  ["RSSMRA85T10A562S, RSSMRA85T10A562T", "[it-fiscal-code], RSSMRA85T10A562T"],
  ["111.444.777-35, 111.444.777-36, 111.111.111-11", "[br-cpf], 111.444.777-36, 111.111.111-11"],
  ["from 192.168.10.12 and 2001:db8::ff00:42:8329", "from [ip] and [ip]"],
  ["section 1.2.3.4, build 10.0.19041.1, v8.8.8.88, 127.0.0.1, 12:30:45, std::vector, aa:bb:cc:dd:ee:ff", "section 1.2.3.4, build 10.0.19041.1, v8.8.8.88, 127.0.0.1, 12:30:45, std::vector, aa:bb:cc:dd:ee:ff"],
  ["+49 171 1234567, +4915112345678, (212) 555-1234 x12, 212.555.1234, +1 212 555 1234", "[phone], [phone], [phone], [phone], [phone]"],
  ["030 1234567, 0171/1234567, 020 7946 0958, 06 12 34 56 78, 08-90 84 38, 0347-808 01, tel. 5551234567", "[phone], [phone], [phone], [phone], [phone], [phone], tel. [phone]"],
  ["2024-01-15 10:00 +0100, 01/02/2024 10:11:12, 2024-01-01T10:00:00+02:00, 08-12 10:30, 2024-08-12 10 30 15", "2024-01-15 10:00 +0100, 01/02/2024 10:11:12, 2024-01-01T10:00:00+02:00, 08-12 10:30, 2024-08-12 10 30 15"],
  ["+40.7128-074.0060/ +1.23456789 212-555-1234-99 00012345 978-3-16-148410-0 300 100 5000", "+40.7128-074.0060/ +1.23456789 212-555-1234-99 00012345 978-3-16-148410-0 300 100 5000"],
]; // prettier-ignore

describe("personal data in text", () => {
  test("is masked where it stands, and nothing else is", async () => {
    const rows = await engine.query(
      `SELECT text, mask_personal_data(text) AS masked, mask_personal_data(mask_personal_data(text)) AS twice FROM ${listOf(masks.map(([text]) => text))}`,
    );
    const became = new Map(rows.map(({ text, masked }) => [text, masked]));
    for (const [text, masked] of masks) expect([text, became.get(text)]).toEqual([text, masked]);
    for (const { masked, twice } of rows) expect(twice).toBe(masked);
  });

  test("only what is asked for is masked; null stays null, and other text stays as it is", async () => {
    const given = "a@b.org, 111.444.777-35, 4111111111111111";
    const [row] = await engine.query(
      `SELECT mask_personal_data(${sqlString(given)}, ['email', 'national-id']) AS some, mask_personal_data(NULL) AS nothing`,
    );
    expect(row).toEqual({ some: "[email], [br-cpf], 4111111111111111", nothing: null });
    const naughty = naughtyStrings().filter((text) => text.isWellFormed() && !text.includes("\0"));
    const rows = await engine.query(
      `SELECT text, mask_personal_data(text) AS masked FROM ${listOf(naughty)} WHERE len(${found}) = 0`,
    );
    expect(rows.length).toBeGreaterThan(naughty.length * 0.95);
    for (const { text, masked } of rows) expect(masked).toBe(text);
  });

  test("a text with the marks that masks are cut at has its data masked all the same", async () => {
    const marked = `${String.fromCharCode(1)}millrace${String.fromCharCode(2)}`;
    const [row] = await engine.query(
      `SELECT mask_personal_data(${sqlString(`4111111111111111${marked}, 4111111111111112 ${marked} 378282246310005`)}) AS masked`,
    );
    expect(row!["masked"]).toBe("[card], 4111111111111112  [card]");
  });

  test(
    "made by Faker and valid by python-stdnum is found, and prose, dates, codes and mistyped numbers are not",
    { timeout: 300_000 },
    async () => {
      const python = await pythonEnvironment(["faker==40.1.2", "python-stdnum==2.1"]);
      const script = await readFile(new URL("personal-sentences.py", import.meta.url), "utf8");
      const made = (await runPython(python, script, ["60"])).trim().split("\n");
      const sentences = made.map((line) => JSON.parse(line) as { kind: string | null; text: string; value?: string });
      const rows = await engine.query(
        `SELECT text, ${found} AS found, mask_personal_data(text) AS masked FROM ${listOf([...new Set(sentences.map(({ text }) => text))])}`,
      );
      const answers = new Map(rows.map((row) => [row["text"] as string, row]));
      const seen: Record<string, { there: number; found: number; left: number }> = {};
      let [innocent, wrongly] = [0, 0];
      for (const { kind, text, value } of sentences) {
        const answer = answers.get(text)!;
        const kinds = answer["found"] as string[];
        if (kind === null) {
          innocent += 1;
          if (kinds.length > 0) wrongly += 1;
          continue;
        }
        const counts = (seen[kind] ??= { there: 0, found: 0, left: 0 });
        counts.there += 1;
        if (kinds.includes(kind)) counts.found += 1;
        if (String(answer["masked"]).includes(value!)) counts.left += 1;
      }
      expect(Object.keys(seen).toSorted()).toEqual([...personalKindNames].toSorted());
      const { phone, ...exact } = seen;
      for (const [kind, { there, found, left }] of Object.entries(exact)) {
        expect([kind, there > 20, found, left]).toEqual([kind, true, there, 0]);
      }
      // Numbers without a separator or a word before them are told from no other number.
      expect(phone!.found / phone!.there).toBeGreaterThan(0.8);
      expect(innocent).toBeGreaterThan(1000);
      expect(wrongly / innocent).toBeLessThan(0.005);
    },
  );
});

describe("the check `personal-data`", () => {
  const secrets = ["anna@example.org", "4111 1111 1111 1111"];

  test("looks into every column with text, and names kinds and counts, never a value", async () => {
    const relation = `(SELECT 1 AS id, 'to ${secrets[0]}' AS text, ['a', 'card ${secrets[1]}'] AS list, {note: 'x'} AS fact UNION ALL SELECT 2, 'nobody', [], {note: '${secrets[0]}'} UNION ALL SELECT 3, NULL, NULL, NULL)`;
    const result = await ask(engine, relation, { check: "personal-data", on_fail: "reject" });
    expect(result).toMatchObject({ status: "warned", failing: 2 });
    expect(result.measured).toEqual({ "rows": 3, "failing": 2, "failing:text": 1, "email:text": 1, "failing:list": 1, "card:list": 1, "failing:fact": 1, "email:fact": 1 }); // prettier-ignore
    for (const secret of secrets) expect(JSON.stringify(result)).not.toContain(secret);
    const cards = await ask(engine, relation, { check: "personal-data", kinds: ["card"] });
    expect(cards).toMatchObject({ failing: 1 });
    expect(cards.message).toBe("`list` has personal data in 1 of 3 rows (33.3 %): a payment card number in 1");
  });

  test("rejects rows with the kind as the reason; the report says nothing of the values", async () => {
    await using place = await makePlace();
    await place.put("in/a.csv", ["id,text", `1,write to ${secrets[0]}`, "2,nothing", `3,pay with ${secrets[1]}`]);
    await using lake = await place.open({
      notes: { from: { path: "in/*.csv" }, checks: [{ check: "personal-data", column: "text", on_fail: "reject" }] },
    });
    const report = await published(lake.run("notes"));
    expect(report).toMatchObject({ written: 1, rejected: 2 });
    for (const secret of secrets) expect(JSON.stringify(report)).not.toContain(secret);
    const rows = await rowsOf(lake, 'SELECT reason, record FROM "notes__rejected" ORDER BY reason');
    expect(rows.map(([reason]) => reason)).toEqual([
      "personal-data: `text` has a payment card number",
      "personal-data: `text` has an e-mail address",
    ]);
    expect(String(rows[1]![1])).toContain(secrets[0]);
  });

  test("masks what enrichers added too, in the rows that have it, and leaves nothing of it but the answers of enrichers", async () => {
    await using place = await makePlace();
    await place.put("in/1.csv", ["id,text,note", `1,write to ${secrets[0]},from 10.20.30.40`, "2,nothing,nothing"]);
    await place.put("in/2.csv", ["id,text,note", "3,nothing,nothing"]);
    // What it hears is nowhere in what it is given.
    const spoken = secrets[0]!.split("@");
    const script = `process.stdout.write(require("node:fs").readFileSync(process.argv[1], "utf8") === "1" ? "heard: " + ${JSON.stringify(spoken)}.join("@") : "heard: nothing")`;
    const heard = {
      enricher: "command",
      of: "raw",
      command: [process.execPath, "-e", script, "{file}"],
      version: "1",
      columns: { heard: "string" },
    };
    const checks = [
      { check: "personal-data", columns: ["text", "heard"], on_fail: "mask" },
      { check: "regex", column: "heard", pattern: "@", negate: true },
    ];
    await using lake = await place.open({
      notes: {
        from: { path: "in/*.csv", part_bytes: 1 },
        transform: "select *, encode(id::varchar) as raw from input",
        enrich: [heard],
        checks,
      },
    });
    const report = await published(lake.run("notes"));
    expect(report).toMatchObject({ read: 3, written: 3, rejected: 0 });
    expect(report.checks[0]).toMatchObject({
      status: "warned",
      failing: 1,
      measured: { "email:text": 1, "email:heard": 1 },
    });
    expect(report.checks[0]!.message).toContain("; masked");
    expect(report.checks[1]).toMatchObject({ status: "passed" });
    expect(await rowsOf(lake, "SELECT text, trim(heard), note FROM notes ORDER BY id")).toEqual([
      ["write to [email]", "heard: [email]", "from 10.20.30.40"],
      ["nothing", "heard: nothing", "nothing"],
      ["nothing", "heard: nothing", "nothing"],
    ]);
    // Answers of enrichers are kept as they were given, for the next run; nothing else is.
    const lakeFolder = join(place.folder, "lake");
    const files = await readdir(lakeFolder, { recursive: true, withFileTypes: true });
    const holding = new Set<string>();
    let looked = 0;
    for (const file of files.filter((each) => each.isFile())) {
      looked += 1;
      const bytes = await readFile(join(file.parentPath, file.name));
      if (bytes.includes(secrets[0]!))
        holding.add(relative(lakeFolder, file.parentPath).split(sep).slice(0, 2).join("/"));
    }
    expect(looked).toBeGreaterThan(8);
    expect([...holding]).toEqual(["notes/answers"]);
    expect(await place.dataFiles("notes")).toHaveLength(2);
  });

  test("masks before other checks reject, and again when what was rejected is replayed", async () => {
    await using place = await makePlace();
    await place.put("a.csv", ["id,price,text", `1,-1,write to ${secrets[0]}`, "2,2,nothing"]);
    const checks = [
      { check: "range", column: "price", min: 0, on_fail: "reject" },
      { check: "personal-data", column: "text", on_fail: "mask" },
    ];
    await using lake = await place.open({ notes: { from: { path: "a.csv" }, checks } });
    expect(await published(lake.run("notes"))).toMatchObject({ written: 1, rejected: 1 });
    const [[record]] = (await rowsOf(lake, "SELECT record FROM notes__rejected")) as [[string]];
    expect(JSON.parse(record)).toMatchObject({ id: 1, text: "write to [email]" });
    const mend = { set: { price: "abs(price)", text: `text || ', or ${secrets[0]}'` } };
    expect(await published(lake.replay("notes", mend))).toMatchObject({ read: 1, written: 1, rejected: 0 });
    expect(await rowsOf(lake, "SELECT id, price, text FROM notes ORDER BY id")).toEqual([
      [1, 1, "write to [email], or [email]"],
      [2, 2, "nothing"],
    ]);
    expect(await place.dataFiles("notes")).toHaveLength(2);
  });

  test("masks lists too; what cannot be masked, keys, and more than may fail stop it", async () => {
    await using place = await makePlace();
    await place.put("a.ndjson", [
      JSON.stringify({ id: "a@b.org", tags: ["x", secrets[0]], fact: { note: secrets[1] } }),
      JSON.stringify({ id: "2", tags: null, fact: null }),
    ]);
    const from = { path: "a.ndjson" };
    const check = { check: "personal-data", on_fail: "mask" };
    await using lake = await place.open({
      lists: { from, checks: [{ ...check, column: "tags" }] },
      keys: { from, mode: "merge", key: ["id"], checks: [{ ...check, columns: ["id", "tags"] }] },
      facts: { from, checks: [check] },
      many: { from, checks: [{ ...check, column: "tags", max_rows: 0 }] },
    });
    await published(lake.run("lists"));
    expect(await rowsOf(lake, "SELECT id, tags, fact.note FROM lists ORDER BY ALL")).toEqual([
      ["2", null, null],
      ["a@b.org", ["x", "[email]"], secrets[1]],
    ]);
    expect(await errorOf(() => lake.run("keys"))).toMatchObject({
      code: "config",
      message: expect.stringContaining("would mask `id`, which is a key"),
    });
    expect(await errorOf(() => lake.run("facts"))).toMatchObject({
      code: "config",
      message: expect.stringContaining("cannot mask `fact`"),
    });
    const other = { from, checks: [{ check: "not-null", column: "id", on_fail: "mask" }] };
    await expect(place.open({ other })).rejects.toThrow("has nothing to mask");
    const failed = await lake.run("many");
    expect(failed).toMatchObject({ status: "failed", checks: [{ status: "failed", failing: 1 }] });
    expect(failed.checks[0]!.message).toMatch(/at most 0 may$/);
  });

  test("a transform that masks passes it, part by part, and masks at inference too", async () => {
    await using place = await makePlace();
    await place.put("in/1.csv", ["id,text", `1,write to ${secrets[0]}`]);
    await place.put("in/2.csv", ["id,text", `2,pay with ${secrets[1]}`]);
    const transform = "select * replace (mask_personal_data(text) as text) from input";
    const check = { check: "personal-data" };
    await using lake = await place.open({
      notes: { from: { path: "in/*.csv", part_bytes: 1 }, transform, checks: [check] },
    });
    await published(lake.run("notes"));
    expect(await rowsOf(lake, "SELECT text FROM notes ORDER BY id")).toEqual([
      ["write to [email]"],
      ["pay with [card]"],
    ]);
    const asked = await (await lake.transformer("notes")).apply([{ id: 3n, text: "from b@c.example" }]);
    expect(asked).toMatchObject({ rows: [[{ id: 3n, text: "from [email]" }]], invalid: [] });
    await using plain = await place.engine();
    expect(await isRowLocal(plain, transform)).toBe(true);
  });
});
