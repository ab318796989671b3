import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { chunksOf, estimateTokens } from "../../src/formats/documents/chunks.ts";
import { textOfHtml } from "../../src/formats/html-text.ts";
import { joinHyphens, readingOrder, type Run } from "../../src/formats/documents/layout.ts";
import { openLake, type Lake } from "../../src/index.ts";

const corpora = join(import.meta.dirname, "../../../shared/corpora");
const here = existsSync(corpora);

interface Facts {
  pages?: number;
  title?: string;
  author?: string;
  encrypted?: string;
  text_contains?: string;
}
const factsOf = (path: string): Record<string, Facts> =>
  (JSON.parse(readFileSync(join(corpora, path, "expected.json"), "utf8")) as { files: Record<string, Facts> }).files;

let folder: string;
let count = 0;

async function lakeOf(from: Record<string, unknown>): Promise<Lake> {
  const flows = { docs: { from: { format: "documents", assets: { keep: false }, ...from } } };
  await writeFile(join(folder, "millrace.yaml"), JSON.stringify({ store: `./lake-${count++}`, flows }));
  return openLake({ folder });
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-documents-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const squeeze = (text: string): string => text.normalize("NFKC").replaceAll(/\s+/g, "").toLowerCase();

interface Row {
  uri: string;
  text: string;
  pages: number | null;
  title: string | null;
  author: string | null;
}

async function read(
  path: string,
  options: Record<string, unknown> = {},
): Promise<{ rows: Map<string, Row>; lake: Lake }> {
  const lake = await lakeOf({ path, options: { rows: "document", ...options } });
  await lake.run("docs");
  const { rows } = await lake.query("select uri, text, pages, title, author from docs");
  return { rows: new Map((rows as unknown as Row[]).map((row) => [basename(row.uri), row])), lake };
}

describe.skipIf(!here)("documents of many makers", () => {
  test.each(["pdf", "pdf-encrypted", "pdf-verapdf", "pdf-pdfjs"])(
    "%s: pages, title and text agree with poppler",
    async (name) => {
      const facts = factsOf(`good/documents/${name}`);
      const { rows, lake } = await read(`${join(corpora, "good/documents", name)}/*.pdf`);
      await using _ = lake;
      let compared = 0;
      const missing: string[] = [];
      for (const [file, fact] of Object.entries(facts)) {
        const row = rows.get(file);
        if (row === undefined) continue;
        if (fact.pages !== undefined) expect({ file, pages: row.pages }).toEqual({ file, pages: fact.pages });
        if (fact.text_contains === undefined) continue;
        compared++;
        if (!squeeze(row.text).includes(squeeze(fact.text_contains))) missing.push(file);
      }
      expect(rows.size).toBeGreaterThan(Object.keys(facts).length / 2);
      expect(compared).toBeGreaterThan(5);
      // Poppler and we differ in the order of scattered text.
      expect(missing.length, missing.join(", ")).toBeLessThanOrEqual(compared * 0.12);
    },
  );

  test("an encrypted document is opened with its password, and says that it is encrypted without", async () => {
    const path = `${join(corpora, "good/documents/pdf-encrypted")}/enc-R3,V2,U=view,O=view.pdf`;
    const { rows, lake } = await read(path, { password: "view" });
    await using _ = lake;
    expect(rows.size).toBe(1);
    const locked = await lakeOf({ path });
    await using __ = locked;
    await expect(locked.run("docs")).resolves.toMatchObject({ written: 0, rejected: 1 });
    const { rows: reasons } = await locked.query("select reason from docs__rejected");
    expect(reasons).toEqual([{ reason: expect.stringContaining("encrypted") as string }]);
  });

  test.each([
    ["office", /docx$/],
    ["html", /html?$/],
    ["rtf", /rtf$/],
  ])("%s: text and titles", async (name, pattern) => {
    const facts = factsOf(`good/documents/${name}`);
    const { rows, lake } = await read(`${join(corpora, "good/documents", name)}/*`);
    await using _ = lake;
    let compared = 0;
    const missing: string[] = [];
    for (const [file, fact] of Object.entries(facts)) {
      const row = rows.get(file);
      if (row === undefined || !pattern.test(file)) continue;
      for (const value of [fact.text_contains, fact.title]) {
        if (value === undefined) continue;
        compared++;
        if (!squeeze(`${row.text} ${row.title}`).includes(squeeze(value))) missing.push(file);
      }
    }
    // Two facts of the collection have the code of a field and numbers of the layout in them.
    const wrong = ["testWORD_EMFAndAttachments.docx", "testWORD_template.docx"];
    expect(missing.filter((file) => !wrong.includes(file))).toEqual([]);
    expect(compared).toBeGreaterThan(name === "rtf" ? -1 : 3);
    expect(rows.size).toBeGreaterThan(8);
  });

  test("hostile documents end in rows or a rejection, and the run ends", async () => {
    for (const path of ["hostile/pdf"]) {
      const files = readdirSync(join(corpora, path), { recursive: true, withFileTypes: true }).filter((file) =>
        file.isFile(),
      );
      await using lake = await lakeOf({ path: `${join(corpora, path)}/**/*`, options: { rows: "document" } });
      const report = await lake.run("docs");
      expect(report.written + report.rejected).toBe(files.length);
      expect(report.rejected).toBeGreaterThan(10);
    }
  }, 240_000);
});

test("every kind of document by its content: page, language, tokens, links, metadata", async () => {
  const docs = join(folder, "docs");
  await mkdir(docs, { recursive: true });
  const prose = "The quick brown fox jumps over the lazy dog, and nobody in the village was surprised by it any more. ";
  await writeFile(
    join(docs, "page"),
    `<!doctype html><title>A page</title><style>p{}</style><body><h1>Head</h1><p>${prose}<a href="https://example.com/x">link</a><script>bad()</script>`,
  );
  await writeFile(join(docs, "notes.md"), `# Notes\n\n${prose}\n\nSee [there](https://example.com/y).`);
  await writeFile(
    join(docs, "latin.txt"),
    Buffer.from(`Ein Satz über Müller, der schöne Grüße aus Österreich schickt und sich darüber freut.`, "latin1"),
  );
  await writeFile(
    join(docs, "mail.eml"),
    `From: "Ada" <ada@example.com>\r\nTo: bob@example.com\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nDate: Tue, 03 Feb 2026 10:00:00 +0100\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n${prose}\r\n`,
  );
  await writeFile(
    join(docs, "letter.rtf"),
    String.raw`{\rtf1\ansi\ansicpg1252{\fonttbl{\f0 Arial;}}{\info{\title Letter}{\author Ada}}\f0 Caf\'e9 \u8364? 5\par second \b line\b0\par}`,
  );
  await writeFile(join(docs, "program"), Buffer.from([0x7f, 0x45, 0x4c, 0x46, 0, 1, 2, 3]));
  await using lake = await lakeOf({ path: "docs/*" });
  expect(await lake.run("docs")).toMatchObject({ read: 6, written: 5, rejected: 1 });
  const { rows } = await lake.query(
    "select uri, media_type, page, text, language, title, author, links, created::varchar as created from docs order by uri",
  );
  expect(rows).toMatchObject([
    {
      uri: "docs/latin.txt",
      media_type: "text/plain",
      text: expect.stringContaining("Müller") as string,
      language: "deu",
    },
    {
      uri: "docs/letter.rtf",
      media_type: "application/rtf",
      text: "Café € 5\nsecond line",
      title: "Letter",
      author: "Ada",
    },
    {
      uri: "docs/mail.eml",
      media_type: "message/rfc822",
      title: "Grüße",
      author: "Ada <ada@example.com>",
      created: "2026-02-03 09:00:00+00",
    },
    { uri: "docs/notes.md", media_type: "text/markdown", title: "Notes", links: ["https://example.com/y"] },
    {
      uri: "docs/page",
      media_type: "text/html",
      page: 1,
      title: "A page",
      language: "eng",
      links: ["https://example.com/x"],
    },
  ]);
  const page = (rows as unknown as { text: string }[])[4]!.text;
  expect(page).toContain("Head\n\nThe quick");
  expect(page).not.toMatch(/bad|p\{\}/);
});

test("chunks hold about as many tokens as asked for, overlap, and together all of the text", () => {
  const sentences = Array.from(
    { length: 200 },
    (_, index) => `Sentence number ${index} says something of some length about the weather.`,
  );
  const pages = [sentences.slice(0, 90).join(" "), sentences.slice(90).join(" ")];
  const chunks = [...chunksOf(pages, 120, 30)];
  expect(chunks.length).toBeGreaterThan(10);
  for (const { text } of chunks) expect(estimateTokens(text)).toBeLessThanOrEqual(120);
  for (const sentence of sentences)
    expect(chunks.filter(({ text }) => text.includes(sentence)).length).toBeGreaterThan(0);
  // The next one begins with what the one before ended with.
  expect(chunks[0]!.text).toContain(chunks[1]!.text.split(". ")[0]!);
  expect(chunks[0]!.page).toBe(0);
  expect(chunks.at(-1)!.page).toBe(1);
  // One word without end is cut too.
  for (const { text } of chunksOf(["x".repeat(50_000)], 100, 0)) expect(text.length).toBeLessThan(2000);
});

test("two columns are read one after the other, a table line by line, a parted word is whole", () => {
  const run = (text: string, x: number, y: number, width: number): Run => ({ text, x, y, width, height: 10 });
  const left = Array.from({ length: 6 }, (_, index) =>
    run(`left column, line ${index} of prose`, 50, 700 - index * 12, 200),
  );
  const right = Array.from({ length: 6 }, (_, index) =>
    run(`right column, line ${index} of prose`, 300, 700 - index * 12, 200),
  );
  const title = run("A title over both columns of this page", 50, 760, 450);
  const text = readingOrder([title, ...left.flatMap((one, index) => [one, right[index]!])]);
  expect(text.indexOf("A title")).toBe(0);
  expect(text.indexOf("left column, line 5")).toBeLessThan(text.indexOf("right column, line 0"));
  const cells = [0, 1, 2].flatMap((row) =>
    [0, 1, 2].map((column) => run(`r${row}c${column}`, 50 + column * 150, 700 - row * 12, 30)),
  );
  expect(readingOrder(cells)).toBe("r0c0 r0c1 r0c2\nr1c0 r1c1 r1c2\nr2c0 r2c1 r2c2");
  expect(joinHyphens("docu-\nment, Jean-\nPaul")).toBe("document, Jean-\nPaul");
});

test("HTML as a person reads it", () => {
  const { text } = textOfHtml(
    "<p>a <b>b</b>\n c</p><ul><li>one<li>two</ul><table><tr><td>1<td>2</tr></table><pre>x\n  y</pre>&amp;&#8364;<br>z",
  );
  expect(text).toBe("a b c\n\n- one\n- two\n\n1\t2\n\nx\n  y\n\n&€\nz");
});
