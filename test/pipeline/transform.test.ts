import { describe, expect, test } from "vitest";
import { isRowLocal } from "../../src/pipeline/row-local.ts";
import { makePlace, published, rowsOf } from "./place.ts";
import { scripted, type Script } from "./scripted.ts";

const parts = {
  "in/1.csv": ["g,v", "a,1", "b,2"],
  "in/2.csv": ["g,v", "a,10", "c,20", "c,30"],
  "in/3.csv": ["g,v", "a,100"],
};
/** Every file a part of its own. */
const from = { path: "in/*.csv", part_bytes: 1 };

describe("a transform over several parts", () => {
  test.each([
    [
      "select g, sum(v)::bigint as v from input group by g order by g",
      [
        ["a", 111],
        ["b", 2],
        ["c", 50],
      ],
      3,
    ],
    ["select count(*) as n from input", [[6]], 5],
    ["select distinct g from input order by g", [["a"], ["b"], ["c"]], 3],
    ["select g, row_number() over (order by v) as r from input qualify r = 6", [["a", 6]], 5],
    ["select v from input order by v desc limit 2", [[30], [100]], 4],
    ["select a.v from input a join input b on a.g = b.g and a.v < b.v", [[1], [1], [10], [20]], 2],
    ["select v from input where v = (select max(v) from input)", [[100]], 5],
    [
      "select g, v from input where v > 10",
      [
        ["c", 20],
        ["c", 30],
        ["a", 100],
      ],
      3,
    ],
    [
      "select g, unnest([v, -v]) as v from input where g = 'b'",
      [
        ["b", -2],
        ["b", 2],
      ],
      4,
    ],
    ["select unnest(range(3)) as i from input where v = 1", [[0], [1], [2]], 3],
  ])("%s", async (transform, rows, filtered) => {
    await using place = await makePlace();
    for (const [name, lines] of Object.entries(parts)) await place.put(name, lines);
    await using lake = await place.open({ t: { from, transform } });
    expect(await published(lake.run("t"))).toMatchObject({ parts: 3, read: 6, written: rows.length, filtered });
    const columns = (await lake.dataset("t")).dataset.columns().map((column) => column.name);
    expect(await rowsOf(lake, `select * from t order by ${columns.includes("v") ? "v" : 1}`)).toEqual(
      columns.includes("v") ? rows.toSorted((left, right) => Number(left.at(-1)) - Number(right.at(-1))) : rows,
    );
    // What was staged before the transform is gone, and so are the plan and its parts.
    expect((await place.dataFiles("t")).length).toBe((await lake.verify("t")).files);
    expect((await place.runFiles()).every((file) => file.endsWith("/report.json"))).toBe(true);
  });

  test("with rejected lines, rejected rows and filtered rows together", async () => {
    await using place = await makePlace();
    await place.put("in/1.csv", ["g,v", "a,1", "b,2,3", "a,4"]);
    await place.put("in/2.csv", ["g,v", "b,-7", "a,5", "only"]);
    await using lake = await place.open({
      t: {
        from,
        transform: "select g, sum(v)::bigint as total from input group by g",
        checks: [{ check: "range", column: "total", min: 0, on_fail: "reject" }],
      },
    });
    expect(await published(lake.run("t"))).toMatchObject({ read: 6, written: 1, rejected: 3, filtered: 2 });
    expect(await rowsOf(lake, "select g, total from t")).toEqual([["a", 10]]);
    expect(await rowsOf(lake, `select "check", count(*) from t__rejected group by 1 order by 1`)).toEqual([
      ["range", 1],
      [null, 2],
    ]);
  });

  test("a failed check leaves no file of any stage", async () => {
    await using place = await makePlace();
    for (const [name, lines] of Object.entries(parts)) await place.put(name, lines);
    await using lake = await place.open({
      t: { from, transform: "select count(*) as n from input", checks: [{ check: "range", column: "n", min: 100 }] },
    });
    expect(await lake.run("t")).toMatchObject({ status: "failed" });
    expect(await place.dataFiles("t")).toEqual([]);
  });

  test("a stream that can be read once may still be joined with itself", async () => {
    await using place = await makePlace();
    const script: Script = { columns: [{ name: "id", type: "long" }], parts: { p: ["1", "2", "3"] }, reads: [] };
    await using lake = await place.open(
      {
        t: {
          from: { connection: "s", stream: "s" },
          transform: "select a.id, b.id as other from input a join input b on a.id < b.id",
        },
      },
      scripted(script),
    );
    expect(await published(lake.run("t"))).toMatchObject({ read: 3, written: 3, filtered: 0 });
    expect(await rowsOf(lake, "select id, other from t order by all")).toEqual([
      [1, 2],
      [1, 3],
      [2, 3],
    ]);
  });
});

describe("a transform that names another dataset", () => {
  test("sees the newest version of when its run was planned, and the same in a run that is taken up", async () => {
    await using place = await makePlace();
    await place.put("names.csv", ["id,name", "1,one"]);
    const flows = {
      names: { from: { path: "names.csv" }, mode: "replace" },
      t: {
        from: { connection: "s", stream: "s" },
        transform: `select i.id, n.name, (select count(*) from "names@1") as first from input i left join names n using (id)`,
      },
    };
    const script: Script = { columns: [{ name: "id", type: "long" }], parts: { p: ["1", "2"] }, reads: [] };
    {
      await using lake = await place.open(flows, scripted(script));
      await published(lake.run("names"));
      script.during = () => {
        throw new Error("cut");
      };
      await expect(lake.run("t")).rejects.toThrow();
    }
    delete script.during;
    await using lake = await place.open(flows, scripted(script));
    await place.put("names.csv", ["id,name", "1,ONE", "2,TWO"]);
    await published(lake.run("names"));
    expect(await published(lake.run("t"))).toMatchObject({ resumed: true, written: 2 });
    expect(await rowsOf(lake, "select id, name, first from t order by id")).toEqual([
      [1, "one", 1],
      [2, null, 1],
    ]);
  });

  test("which is not there is said before anything is read", async () => {
    await using place = await makePlace();
    await place.put("in/1.csv", ["id", "1"]);
    await using lake = await place.open({ t: { from, transform: "select * from input join nmaes using (id)" } });
    await expect(lake.run("t")).rejects.toMatchObject({ code: "config", message: expect.stringContaining("nmaes") });
    expect(await place.runFiles()).toEqual([]);
  });
});

test("rows are told to be made one by one only where that is certain", async () => {
  await using place = await makePlace();
  await using lake = await place.open({});
  const engine = await lake.engine();
  const local = [
    "select * from input",
    "from input select upper(a), nullif(b, '') where c > 1 order by 1",
    "with x as (select * from input) select * from x where a in (select id from other)",
    "select i.* from input i left join other using (id)",
    "select * from other o right join input i on o.id = i.id",
    "select * from (select a, list_sum(xs) from input) cross join (select max(id) from other)",
    "select * exclude (a), case when b then list_aggregate(xs, 'count') end from INPUT",
  ];
  const whole = [
    "select count(*) from input",
    "select any_value(a) from input",
    "select wavg(a, b) from input",
    "select a from input group by all",
    "select distinct on (a) * from input",
    "select * from input limit 1",
    "select * from input using sample 10%",
    "select *, lag(a) over () from input",
    "select * from input union all select * from input",
    "select * from input union all select * from other",
    "select * from other left join input using (id)",
    "select * from other anti join input using (id)",
    "select * from input full join other using (id)",
    "select * from input i where exists (select 1 from input j where j.a = i.b)",
    "with recursive r as (select * from input union all select * from r) select * from r",
    "with x as (select a, count(*) from input group by a) select * from x",
    "with other as (select * from input) select * from other o join input i using (id)",
    "pivot input on a using sum(b)",
    "select 1",
  ];
  for (const sql of local) expect(await isRowLocal(engine, sql), sql).toBe(true);
  for (const sql of whole) expect(await isRowLocal(engine, sql), sql).toBe(false);
});
