import { expect, test } from "vitest";
import { assetColumns, type Column } from "../../src/core/index.ts";
import { renderPreviewHtml } from "../../src/quality/index.ts";
import { elementsOf, type Element } from "../support/page.ts";

const hostile = `<script>alert(1)</script>"'><img src=x onerror=alert(2)></textarea></style><!--`;
const columns: Column[] = [
  ...assetColumns,
  { name: "text", type: "string" },
  { name: "language", type: "string" },
  { name: "title", type: "string" },
  { name: "page", type: "int" },
  { name: "notes", type: "string" },
  ...["thumbnail", "image", "samples", "pixels"].map((name): Column => ({ name, type: "binary" })),
];
const asset = { uri: hostile, media_type: "image/png", size: 3n, sha256: "ab", modified: "2026-01-01" };
const bytes = Buffer.from("abc");
const jpeg = Buffer.from([0xff, 0xd8, 0xff, 0xe0]);
const png = Buffer.from("\x89PNG\r\n", "latin1");
const dataOf = (type: string, content: Buffer): string => `data:${type};base64,${content.toString("base64")}`;

const named = (elements: readonly Element[], ...names: string[]): Element[] =>
  elements.filter(({ name }) => names.includes(name));
const players = (rows: Record<string, unknown>[], more = {}): [string, Record<string, string>][] =>
  named(elementsOf(renderPreviewHtml({ title: "t", columns, rows, ...more })), "img", "audio", "video").map(
    ({ name, attributes: { alt, loading, ...rest } }) => {
      if (name === "img") expect([alt, loading]).toEqual([hostile, "lazy"]);
      return [name, rest];
    },
  );

test("nothing of the data is markup, runs, or reaches the network", () => {
  const row = { ...asset, text: hostile.repeat(300), language: `en" onload="x`, title: hostile, notes: hostile };
  const page = renderPreviewHtml({
    title: hostile,
    columns,
    rows: [row, { ...row, bytes, media_type: `image/png" onload="x` }, { ...row, bytes, media_type: "text/html" }],
  });
  const elements = elementsOf(page);
  expect(named(elements, "script", "img", "audio", "video", "iframe", "object", "a", "link")).toEqual([]);
  expect(named(elements, "li")).toHaveLength(3);
  for (const { attributes } of elements) {
    expect(Object.keys(attributes).filter((name) => name.startsWith("on") || name === "href")).toEqual([]);
  }
  expect(named(elements, "h1")[0]!.text).toBe(hostile);
  expect(named(elements, "title")[0]!.text).toBe(hostile);
  expect(named(elements, "h2")[0]!.text).toBe(hostile + hostile);
  const [policy] = elements.filter(({ attributes }) => attributes["http-equiv"] === "Content-Security-Policy");
  expect(policy!.attributes["content"]).toBe(
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:",
  );
});

test("pictures, sound and films are shown and played from the page", () => {
  expect(players([{ ...asset, thumbnail: jpeg, bytes }])).toEqual([["img", { src: dataOf("image/jpeg", jpeg) }]]);
  expect(players([{ ...asset, bytes }])).toEqual([["img", { src: dataOf("image/png", bytes) }]]);
  expect(players([{ ...asset, media_type: "application/dicom", bytes, pixels: png }])).toEqual([["img", { src: dataOf("image/png", png) }]]);
  expect(players([{ ...asset, media_type: "audio/mpeg", bytes }])).toEqual([["audio", { controls: "", src: dataOf("audio/mpeg", bytes) }]]);
  // A segment is its own sound.
  const segment = { ...asset, media_type: "audio/mpeg", bytes, samples: Buffer.from("RIFF") };
  expect(players([segment])).toEqual([["audio", { controls: "", src: dataOf("audio/wav", Buffer.from("RIFF")) }]]);
  const film = { ...asset, media_type: "video/mp4", object: "d/assets/ab/x", image: jpeg };
  const source = dataOf("video/mp4", bytes);
  expect(players([film], { objects: new Map([["d/assets/ab/x", bytes]]) })).toEqual([["video", { controls: "", poster: dataOf("image/jpeg", jpeg), src: source }]]);
  // Later frames, and films that cannot be had.
  expect(players([{ ...film, object: null }, film])).toEqual([["img", { src: dataOf("image/jpeg", jpeg) }], ["img", { src: dataOf("image/jpeg", jpeg) }]]);
  expect(players([{ ...asset, media_type: "application/pdf", bytes }, { ...asset, media_type: "video/mp4" }])).toEqual([]);
}); // prettier-ignore

test("what is too large for the page is played from a file beside it", () => {
  const row = { ...asset, media_type: "video/mp4", object: "d/assets/ab/x" };
  const files = new Map([[row, "lake/d/assets/%22ab/x"]]);
  expect(players([row], { files })).toEqual([
    ["video", { controls: "", preload: "metadata", src: "lake/d/assets/%22ab/x" }],
  ]);
  const page = renderPreviewHtml({ title: "t", columns, rows: [row], files });
  expect(page).toContain("media-src data: 'self' file:");
});

test("texts are whole, in their language, with where they are from; very long ones are cut between characters", () => {
  const text = "Erste Zeile\n\n  <b>zweite</b> & dritte 🚆";
  const row = {
    ...asset,
    media_type: "application/pdf",
    text,
    language: "deu",
    title: "Bericht",
    page: 3,
    notes: "n".repeat(300),
  };
  const long = { ...row, text: "🚆".repeat(20_001), language: null };
  const elements = elementsOf(
    renderPreviewHtml({ title: "t", columns, rows: [row, { ...long, text: `a${long.text}` }] }),
  );
  const blocks = elements.filter(({ attributes }) => attributes["class"] === "text");
  expect(blocks[0]).toMatchObject({ text, attributes: { lang: "deu", dir: "auto" } });
  expect(blocks[1]).toMatchObject({ text: row.notes, within: expect.arrayContaining(["dd"]) as string[] });
  expect(named(elements, "small")[0]!.text).toBe("Bericht · page 3");
  expect(blocks[2]!.attributes["lang"]).toBeUndefined();
  expect(blocks[2]!.text).toBe(`a${"🚆".repeat(9999)}`);
  expect(elements.some((element) => element.text === "… and 20003 more characters")).toBe(true);
});

test("other rows are a table", () => {
  const rows = [{ id: 12345678901234567890n, share: 1 / 3, tags: ["a", 1n], text: null }];
  const table = ["id", "share", "tags", "text"].map((name): Column => ({ name, type: "string" }));
  const cells = named(elementsOf(renderPreviewHtml({ title: "t@1", columns: table, rows })), "td");
  expect(cells.map(({ text }) => text)).toEqual(["12345678901234567890", "0.333333", '["a","1"]', ""]);
});
