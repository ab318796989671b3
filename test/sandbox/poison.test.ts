import { mkdirSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { sandboxCounts } from "../../src/sandbox/index.ts";
import { expectBalanced, makePlace, type Place } from "../pipeline/place.ts";
import { zip } from "../sources/zip.ts";

let place: Place;
beforeAll(async () => {
  place = await makePlace();
});
afterAll(() => place[Symbol.asyncDispose]());

const main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
const office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
const packaging = "http://schemas.openxmlformats.org/package/2006/relationships";

/** A workbook with a column `name`. */
function workbook(strings: string, rows: string): Buffer {
  return zip({
    "_rels/.rels": `<Relationships xmlns="${packaging}"><Relationship Id="r1" Type="${office}/officeDocument" Target="xl/workbook.xml"/></Relationships>`,
    "xl/workbook.xml": `<workbook xmlns="${main}" xmlns:r="${office}"><sheets><sheet name="a" sheetId="1" r:id="r1"/></sheets></workbook>`,
    "xl/_rels/workbook.xml.rels": `<Relationships xmlns="${packaging}"><Relationship Id="r1" Type="${office}/worksheet" Target="worksheets/a.xml"/><Relationship Id="r2" Type="${office}/sharedStrings" Target="s.xml"/></Relationships>`,
    "xl/s.xml": `<sst xmlns="${main}">${strings}</sst>`,
    "xl/worksheets/a.xml": `<worksheet xmlns="${main}"><sheetData>${rows}</sheetData></worksheet>`,
  });
}

const inline = (text: string): string => `<c t="inlineStr"><is><t>${text}</t></is></c>`;
const good = (names: string[]): Buffer =>
  workbook("", ["name", ...names].map((name) => `<row>${inline(name)}</row>`).join(""));

/** Strings that fill the memory of the parser before it gives a row. */
function hoarding(): Buffer {
  const parts: string[] = [];
  // Each differs, so that the limit on the ratio is not what refuses it.
  for (let index = 0; index < 100_000; index++)
    parts.push(`<si><t>${Math.sqrt(index + 2)}${"x".repeat(1_000)}</t></si>`);
  return workbook(parts.join(""), `<row>${inline("name")}</row><row>${inline("never")}</row>`);
}

test("a file that kills its parser becomes one rejected record, and the batch goes on", async () => {
  mkdirSync(`${place.folder}/in`);
  writeFileSync(`${place.folder}/in/1.xlsx`, good(["ann", "bob"]));
  writeFileSync(`${place.folder}/in/2.xlsx`, hoarding());
  writeFileSync(`${place.folder}/in/3.xlsx`, good(["cyd"]));
  await using lake = await place.open(
    {
      people: { from: { connection: "inbox", stream: "*.xlsx" } },
    },
    { connections: { inbox: { source: "files", path: "in", parse_memory_mb: 64 } } },
  );
  const before = sandboxCounts().died;
  const report = await lake.run("people");
  expect(sandboxCounts().died).toBeGreaterThan(before);
  expect(report).toMatchObject({ status: "published", read: 4, written: 3, rejected: 1 });
  expectBalanced(report);
  expect((await lake.query("select name from people order by name")).rows.map((row) => row["name"])).toEqual([
    "ann",
    "bob",
    "cyd",
  ]);
  const { rows } = await lake.query('select * from "people__rejected"');
  expect(rows).toHaveLength(1);
  expect(String(rows[0]!["origin"])).toContain("2.xlsx");
  expect(String(rows[0]!["reason"])).toContain("memory");
  // Nothing is new: the file is not tried again with every run.
  const deaths = sandboxCounts().died;
  expect((await lake.run("people")).status).toBe("unchanged");
  expect(sandboxCounts().died).toBe(deaths);
});

test("where nothing else is left to read, the run fails and says why", async () => {
  mkdirSync(`${place.folder}/alone`);
  writeFileSync(`${place.folder}/alone/2.xlsx`, hoarding());
  await using lake = await place.open(
    {
      alone: { from: { connection: "inbox", stream: "*.xlsx" } },
    },
    { connections: { inbox: { source: "files", path: "alone", parse_memory_mb: 64 } } },
  );
  await expect(lake.run("alone")).rejects.toMatchObject({ code: "limit", where: { file: "alone/2.xlsx" } });
});
