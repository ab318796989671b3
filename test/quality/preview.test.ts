import { expect, test } from "vitest";
import { assetColumns, type Column } from "../../src/core/index.ts";
import { renderPreviewHtml } from "../../src/quality/index.ts";

const hostile = `<script>alert(1)</script>"'><img src=x onerror=alert(2)>`;
const columns: Column[] = [...assetColumns, { name: "text", type: "string" }, { name: "thumbnail", type: "binary" }];
const asset = {
  uri: hostile,
  media_type: "image/png",
  size: 3n,
  sha256: "ab",
  modified: "2026-01-01",
  text: hostile.repeat(20),
};

test("assets are cards with pictures and players; nothing of the data is markup", () => {
  const bytes = Buffer.from("abc");
  const page = renderPreviewHtml({
    title: hostile,
    columns,
    rows: [
      { ...asset, thumbnail: bytes },
      { ...asset, media_type: "audio/wav", bytes },
      { ...asset, media_type: "video/mp4", object: "d/assets/ab/x" },
      { ...asset, media_type: 'text/html" onload="x', bytes },
    ],
    objects: new Map([["d/assets/ab/x", bytes]]),
  });
  expect(page).not.toMatch(/<script|<img src=x|onload="x/);
  expect(page.match(/<li>/g)).toHaveLength(4);
  expect(page).toContain('src="data:image/jpeg;base64,YWJj"');
  expect(page).toContain('<audio controls src="data:audio/wav;base64,YWJj">');
  expect(page).toContain('<video controls src="data:video/mp4;base64,YWJj">');
  expect(page.match(/src="data:/g)).toHaveLength(3);
  expect(page).toContain("<details>");
});

test("other rows are a table", () => {
  const rows = [{ id: 12345678901234567890n, share: 1 / 3, tags: ["a", 1n], text: null }];
  const named = ["id", "share", "tags", "text"].map((name): Column => ({ name, type: "string" }));
  const page = renderPreviewHtml({ title: "t@1", columns: named, rows });
  expect(page).toContain("12345678901234567890");
  expect(page).toContain("0.333333");
  expect(page).toContain("[&#34;a&#34;,&#34;1&#34;]");
  expect(page.match(/<td>/g)).toHaveLength(4);
});
