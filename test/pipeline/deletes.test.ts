import { expect, test } from "vitest";
import type { Column } from "../../src/core/index.ts";
import type { RunReport } from "../../src/pipeline/index.ts";
import { makePlace, published, rowsOf, type Place } from "./place.ts";
import { scripted, type Script } from "./scripted.ts";

const columns: Column[] = [
  { name: "id", type: "int" },
  { name: "v", type: "string" },
  { name: "moment", type: "long" },
  { name: "step", type: "int" },
  { name: "what", type: "string" },
  { name: "_deleted", type: "boolean" },
];
const marks = { deleted: "_deleted", order: ["moment", "step"], emptied: { column: "what", value: "truncate" } };

/** Lines of changes, `id,v,moment,step`; one without `v` is a deletion, one without `id` empties the table. */
function changesOf(lines: readonly string[]): string[] {
  return lines.map((line) => {
    const [id, v] = line.split(",");
    if (id === "") return `${line},truncate,true`;
    return v === "" ? `${line},delete,true` : `${line},upsert,false`;
  });
}

const flow = { from: { connection: "s", stream: "s" }, mode: "merge", key: ["id"] };

/** Runs the flow once for each list of changes. */
async function runs(
  place: Place,
  steps: readonly (readonly string[][])[],
  more: Record<string, unknown> = {},
): Promise<{ reports: RunReport[]; rows: unknown[] }> {
  const script: Script = { columns, marks, parts: {}, reads: [] };
  await using lake = await place.open({ t: { ...flow, ...more } }, scripted(script));
  const reports: RunReport[] = [];
  for (const [step, parts] of steps.entries()) {
    script.parts = Object.fromEntries(parts.map((lines, index) => [`p${index}`, changesOf(lines)]));
    script.cursor = { at: step };
    reports.push(await published(lake.run("t")));
    expect(reports.at(-1)!.read).toBe(parts.flat().length);
  }
  return { reports, rows: await rowsOf(lake, "select id, v from t order by all") };
}

test("a deletion takes the earlier row away and adds none; the newest change of a key decides", async () => {
  await using place = await makePlace();
  const { reports, rows } = await runs(place, [
    [["1,a,1,0", "2,b,1,1", "3,c,1,2", "4,d,1,3"]],
    [
      ["1,,2,0", "2,B,2,1", "2,BB,2,2", "9,,2,3"],
      // Deleted and put in again, put in and deleted again: the order tells, not the part.
      ["3,,3,0", "5,e,3,1", "3,C,3,2", "5,,3,2"],
    ],
  ]);
  expect(rows).toEqual([
    [2, "BB"],
    [3, "C"],
    [4, "d"],
  ]);
  expect(reports[0]).toMatchObject({ written: 4, filtered: 0, deletions: 0 });
  expect(reports[1]).toMatchObject({
    read: 8,
    written: 2,
    updated: 2,
    deleted: 1,
    deletions: 3,
    superseded: 3,
    filtered: 6,
  });
});

test("only deletions; deletions of what is not there; deletions before there is a dataset", async () => {
  await using place = await makePlace();
  const { reports, rows } = await runs(place, [
    [["1,,1,0"]],
    [["1,a,2,0", "2,b,2,1"]],
    [["7,,3,0"]],
    [["1,,4,0", "2,,4,1"]],
  ]);
  expect(rows).toEqual([]);
  expect(reports.map(({ version, written, deleted, filtered }) => [version, written, deleted, filtered])).toEqual([
    [1, 0, undefined, 1],
    [2, 2, undefined, 0],
    [3, 0, 0, 1],
    [4, 0, 2, 2],
  ]);
});

test("emptying takes all earlier rows away, and the changes before it", async () => {
  await using place = await makePlace();
  const { reports, rows } = await runs(place, [
    [["1,a,1,0", "2,b,1,1"]],
    [
      ["1,A,2,0", ",,2,1", "3,c,2,2"],
      ["2,bb,1,9", "4,d,3,0", "4,,3,1"],
    ],
  ]);
  expect(rows).toEqual([[3, "c"]]);
  expect(reports[1]).toMatchObject({ written: 1, deleted: 2, deletions: 2, superseded: 3, updated: 0 });
});

test("checks look at rows and not at deletions; a deletion without a key is refused with its reason", async () => {
  await using place = await makePlace();
  const { reports, rows } = await runs(place, [[["1,a,1,0", "2,b,1,1"]], [["1,,2,0", "3,bad,2,1"]]], {
    checks: [
      { check: "not-null", columns: ["v"] },
      { check: "allowed-values", columns: ["v"], values: ["a", "b"], on_fail: "reject" },
    ],
  });
  expect(rows).toEqual([[2, "b"]]);
  expect(reports[1]).toMatchObject({ written: 0, rejected: 1, deleted: 1, deletions: 1 });
  const script: Script = { columns, marks, parts: { p: [",,5,0,delete,true"] }, reads: [], cursor: { at: 9 } };
  await using lake = await place.open({ t: flow }, scripted(script));
  expect(await published(lake.run("t"))).toMatchObject({ read: 1, rejected: 1, deletions: 0 });
  expect(await rowsOf(lake, "select id, v from t")).toEqual([[2, "b"]]);
});

test("with `append` a deletion is a row of the log", async () => {
  await using place = await makePlace();
  const { reports, rows } = await runs(place, [[["1,a,1,0"]], [["1,,2,0", ",,3,0"]]], {
    mode: "append",
    key: undefined,
  });
  expect(rows).toEqual([
    [1, "a"],
    [1, null],
    [null, null],
  ]);
  expect(reports[1]).not.toHaveProperty("deletions");
});

test("a transform that drops what marks deletions is refused before anything is read", async () => {
  await using place = await makePlace();
  const script: Script = { columns, marks, parts: { p: ["1,a,1,0,upsert,false"] }, reads: [] };
  for (const [select, missing] of [
    ["id, v, moment, step, what", "_deleted"],
    ["id, v, moment, _deleted, what", "step"],
    ["id, v, moment, _deleted, step", "what"],
  ] as const) {
    await using lake = await place.open({ t: { ...flow, transform: `select ${select} from input` } }, scripted(script));
    await expect(lake.run("t")).rejects.toMatchObject({ code: "config", where: { column: missing } });
  }
  expect(script.reads).toEqual([]);
  // Whoever wants to keep deleted rows says so.
  await using lake = await place.open(
    { t: { ...flow, transform: "select * replace (false as _deleted) from input" } },
    scripted({ ...script, parts: { p: ["1,a,1,0,upsert,false", "1,,2,0,delete,true"] } }),
  );
  expect(await published(lake.run("t"))).toMatchObject({ written: 1, superseded: 1, deletions: 0 });
});

test("what a source warns of is in the report", async () => {
  await using place = await makePlace();
  const script: Script = {
    columns,
    marks: { warnings: ["the log is nearly full"] },
    parts: { p: ["1,a,1,0,x,false"] },
    reads: [],
  };
  await using lake = await place.open({ t: flow }, scripted(script));
  expect((await published(lake.run("t"))).warnings).toEqual(["the log is nearly full"]);
});
