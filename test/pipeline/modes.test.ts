import { describe, expect, test } from "vitest";
import { makePlace, published, rowsOf } from "./place.ts";

describe("append", () => {
  test("takes in new files only; a run without news makes neither a version nor a file", async () => {
    await using place = await makePlace();
    await place.put("in/a.csv", ["id,name", "1,ann", "2,bob"]);
    await using lake = await place.open({ people: { from: { path: "in/*.csv" } } });
    expect(await published(lake.run("people"))).toMatchObject({ version: 1, read: 2, written: 2, parts: 1 });

    const files = await place.dataFiles("people");
    const runs = await place.runFiles();
    const unchanged = await lake.run("people");
    expect(unchanged).toMatchObject({ status: "unchanged", version: 1, read: 0, written: 0 });
    expect(await place.dataFiles("people")).toEqual(files);
    expect(await place.runFiles()).toEqual(runs);
    expect(await lake.history("people")).toHaveLength(1);

    await place.put("in/b.csv", ["id,name", "3,cid"]);
    expect(await published(lake.run("people"))).toMatchObject({ version: 2, base: 1, read: 1, written: 1 });
    expect(await rowsOf(lake, "select id, name from people order by id")).toEqual([
      [1, "ann"],
      [2, "bob"],
      [3, "cid"],
    ]);
    expect(await rowsOf(lake, 'select count(*) from "people@1"')).toEqual([[2]]);
    // A run that ended keeps its report and nothing else.
    expect((await place.runFiles()).every((file) => file.endsWith("/report.json"))).toBe(true);
    expect(await place.dataFiles("people")).toHaveLength(2);
  });

  test("an appended file gives its new lines; reading all again is refused", async () => {
    await using place = await makePlace();
    await place.put("in/a.csv", ["id", "1"]);
    await using lake = await place.open({ numbers: { from: { path: "in/a.csv" } } });
    await published(lake.run("numbers"));
    await place.put("in/a.csv", ["id", "1", "2", "3"]);
    expect(await published(lake.run("numbers"))).toMatchObject({ read: 2 });
    expect(await rowsOf(lake, "select count(*), sum(id) from numbers")).toEqual([[3, 6]]);
    await expect(lake.run("numbers", { full: true })).rejects.toMatchObject({
      code: "usage",
      where: { flow: "numbers" },
    });
  });

  test("two flows fill one dataset, each with a position of its own", async () => {
    await using place = await makePlace();
    await place.put("one.csv", ["id", "1"]);
    await place.put("two.csv", ["id", "2"]);
    await using lake = await place.open({
      first: { from: { path: "one.csv" }, into: "pair" },
      second: { from: { path: "two.csv" }, into: "pair" },
    });
    await Promise.all([published(lake.run("first")), published(lake.run("second"))]);
    expect(await rowsOf(lake, "select count(*), sum(id) from pair")).toEqual([[2, 3]]);
    expect((await lake.run("first")).status).toBe("unchanged");
    expect((await lake.run("second")).status).toBe("unchanged");
  });
});

describe("replace", () => {
  test("swaps all rows; earlier versions stay readable; the same files again are no news", async () => {
    await using place = await makePlace();
    await place.put("in/a.csv", ["id,v", "1,a", "2,b"]);
    await using lake = await place.open({ items: { from: { path: "in/*.csv" }, mode: "replace" } });
    await published(lake.run("items"));
    expect(await lake.run("items")).toMatchObject({ status: "unchanged" });
    await place.put("in/a.csv", ["id,v", "2,c"]);
    expect(await published(lake.run("items"))).toMatchObject({ version: 2, read: 1, written: 1 });
    expect(await rowsOf(lake, "select id, v from items")).toEqual([[2, "c"]]);
    expect(await rowsOf(lake, 'select id, v from "items@1" order by id')).toEqual([
      [1, "a"],
      [2, "b"],
    ]);
  });

  test("`full` reads again what has not changed, and so does a changed flow", async () => {
    await using place = await makePlace();
    await place.put("a.csv", ["id", "1", "2"]);
    const flow = { from: { path: "a.csv" }, mode: "replace" };
    {
      await using lake = await place.open({ items: flow });
      await published(lake.run("items"));
      expect(await published(lake.run("items", { full: true }))).toMatchObject({ version: 2, read: 2 });
    }
    await using lake = await place.open({ items: { ...flow, transform: "select id * 10 as id from input" } });
    expect(await published(lake.run("items"))).toMatchObject({ version: 3, read: 2 });
    expect(await rowsOf(lake, "select sum(id) from items")).toEqual([[30]]);
    expect(await lake.run("items")).toMatchObject({ status: "unchanged", version: 3 });
  });

  test("a replace that leaves no row empties the dataset, and says how many were left out", async () => {
    await using place = await makePlace();
    await place.put("a.csv", ["id", "1"]);
    await using lake = await place.open({
      items: { from: { path: "a.csv" }, mode: "replace", transform: "select * from input where id < 10" },
    });
    await published(lake.run("items"));
    await place.put("a.csv", ["id", "11", "12"]);
    expect(await published(lake.run("items"))).toMatchObject({ read: 2, written: 0, filtered: 2 });
    expect(await rowsOf(lake, "select count(*) from items")).toEqual([[0]]);
  });
});

describe("merge", () => {
  test("updates, inserts, and keeps of each key the row with the highest cursor", async () => {
    await using place = await makePlace();
    await place.put("in/1.csv", ["id,seq,v", "1,10,a", "2,10,b", "1,30,newest", "1,20,older"]);
    await using lake = await place.open({
      items: { from: { path: "in/*.csv", cursor: "seq" }, mode: "merge", key: ["id"] },
    });
    expect(await published(lake.run("items"))).toMatchObject({ read: 4, written: 2, filtered: 2, superseded: 2 });
    expect(await rowsOf(lake, "select id, seq, v from items order by id")).toEqual([
      [1, 30, "newest"],
      [2, 10, "b"],
    ]);
    await place.put("in/2.csv", ["id,seq,v", "2,40,B", "3,40,C"]);
    expect(await published(lake.run("items"))).toMatchObject({ read: 2, written: 2, updated: 1, superseded: 0 });
    expect(await rowsOf(lake, "select id, v from items order by id")).toEqual([
      [1, "newest"],
      [2, "B"],
      [3, "C"],
    ]);
    expect(await lake.run("items")).toMatchObject({ status: "unchanged" });
    expect((await lake.verify("items", { deep: true })).problems).toEqual([]);
  });

  test("says so when nothing tells which of two rows with one key is newer", async () => {
    await using place = await makePlace();
    await place.put("a.csv", ["id,v", "1,a", "1,b", "2,c"]);
    await using lake = await place.open({ items: { from: { path: "a.csv" }, mode: "merge", key: ["id"] } });
    const report = await published(lake.run("items"));
    expect(report).toMatchObject({ read: 3, written: 2, superseded: 1 });
    expect(report.warnings).toEqual([expect.stringContaining("`from.cursor`")]);
  });

  test("keys of several columns, with names that need quoting", async () => {
    await using place = await makePlace();
    const header = `"the ""id""","Größe 📏","it's",v,row`;
    await place.put("in/1.csv", [header, `1,S,x,a,r`, `1,L,x,b,r`, `2,S,x,c,r`]);
    await using lake = await place.open({
      items: {
        from: { path: "in/*.csv" },
        mode: "merge",
        key: ['the "id"', "Größe 📏", "it's"],
        checks: [{ check: "allowed-values", columns: ["v"], values: ["a", "b", "c", "d"], on_fail: "reject" }],
        split: { train: 0.5, test: 0.5, key: ['the "id"', "Größe 📏"], into: 'my "split" 🌊' },
      },
    });
    expect(await published(lake.run("items"))).toMatchObject({ read: 3, written: 3 });
    await place.put("in/2.csv", [header, `1,L,x,d,r`, `1,L,y,a,r`, `3,L,z,bad,r`]);
    const report = await published(lake.run("items"));
    expect(report).toMatchObject({ read: 3, written: 2, rejected: 1, updated: 1 });
    expect(await rowsOf(lake, `select "the ""id""", "Größe 📏", "it's", v from items order by 1, 2, 3`)).toEqual([
      [1, "L", "x", "d"],
      [1, "L", "y", "a"],
      [1, "S", "x", "a"],
      [2, "S", "x", "c"],
    ]);
    const [[origin, record]] = (await rowsOf(lake, "select origin, record from items__rejected")) as [[string, string]];
    expect(origin).toBe(`flow items, the "id"=3, Größe 📏=L, it's=z`);
    expect(JSON.parse(record)).toMatchObject({ 'the "id"': 3, "Größe 📏": "L", "it's": "z", v: "bad" });
    expect(Object.keys(report.splits ?? {}).every((name) => ["train", "test"].includes(name))).toBe(true);
  });

  test("rows whose key has a null cannot be told apart: they are rejected with that reason", async () => {
    await using place = await makePlace();
    await place.put("in/1.csv", ["a,b,v", "1,1,x", "1,,y", ",,z", ",,w"]);
    await using lake = await place.open({ items: { from: { path: "in/*.csv" }, mode: "merge", key: ["a", "b"] } });
    const report = await published(lake.run("items"));
    expect(report).toMatchObject({ read: 4, written: 1, rejected: 3, superseded: 0 });
    expect(report.checks).toEqual([expect.objectContaining({ check: "not-null", status: "warned", rejected: 3 })]);
    expect(await rowsOf(lake, `select distinct "check" from items__rejected`)).toEqual([["not-null"]]);
    const [[reason]] = (await rowsOf(lake, `select reason from items__rejected where record like '%"y"%'`)) as [
      [string],
    ];
    expect(reason).toContain("b");
    // The key of a row that was refused can be mended.
    const replay = await published(lake.replay("items", { set: { a: "7", b: "8" }, where: `record like '%"w"%'` }));
    expect(replay).toMatchObject({ read: 1, written: 1 });
    expect(await rowsOf(lake, "select a, b, v from items order by a")).toEqual([
      [1, 1, "x"],
      [7, 8, "w"],
    ]);
  });

  test("a check of one's own on the key decides: with `fail` nothing is published", async () => {
    await using place = await makePlace();
    await place.put("a.csv", ["id,v", "1,x", ",y"]);
    await using lake = await place.open({
      items: { from: { path: "a.csv" }, mode: "merge", key: ["id"], checks: [{ check: "not-null", columns: ["id"] }] },
    });
    expect(await lake.run("items")).toMatchObject({ status: "failed" });
    expect(await place.dataFiles("items")).toEqual([]);
  });

  test("`full` reads all again and puts no row in twice", async () => {
    await using place = await makePlace();
    await place.put("a.csv", ["id,v", "1,x", "2,y"]);
    await using lake = await place.open({ items: { from: { path: "a.csv" }, mode: "merge", key: ["id"] } });
    await published(lake.run("items"));
    expect(await published(lake.run("items", { full: true }))).toMatchObject({ read: 2, updated: 2 });
    expect(await rowsOf(lake, "select count(*) from items")).toEqual([[2]]);
  });
});
