import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { openLake, type Lake } from "../../src/index.ts";
import { joined, mergedRanges } from "../../src/sources/stac/remote.ts";
import { requireGdal, type Gdal } from "../services/gdal.ts";
import { startStac, type StacServer } from "../services/stac.ts";

type Row = Record<string, unknown>;

let server: StacServer;
let folder = "";
let count = 0;

beforeAll(async () => {
  server = await startStac();
  folder = await mkdtemp(join(tmpdir(), "millrace-stac-"));
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});
beforeEach(() => {
  server.behaviour = { paging: "merge", filter: true };
  server.collections.clear();
  server.files.clear();
  server.asked.length = 0;
  server.faults.length = 0;
});

async function openCatalogue(from: Row, flow: Row = {}, connection: Row = {}): Promise<Lake> {
  const place = join(folder, `lake-${count++}`);
  await mkdir(place);
  const earth = { source: "stac", url: `${server.origin}/`, allow_hosts: [server.host], page: 10, ...connection };
  const config = {
    store: "./lake",
    connections: { earth },
    flows: { scenes: { from: { connection: "earth", ...from }, ...flow } },
  };
  await writeFile(join(place, "millrace.yaml"), JSON.stringify(config));
  return openLake({ folder: place });
}

const moment = (second: number): string => new Date(Date.UTC(2024, 5, 1) + second * 1000).toISOString();

function itemOf(collection: string, number: number, properties: Row = {}, more: Row = {}): Row {
  const [west, south] = [number % 90, number % 45];
  return {
    type: "Feature",
    stac_version: "1.0.0",
    id: `scene-${number}`,
    collection,
    bbox: [west, south, west + 1, south + 1],
    geometry: { type: "Point", coordinates: [west, south] },
    properties: { datetime: moment(number), updated: moment(number), ...properties },
    assets: {},
    links: [{ rel: "self", href: `${server.origin}/items/${collection}/${number}.json` }],
    ...more,
  };
}
const itemsOf = (collection: string, from: number, to: number, properties: Row = {}): Row[] =>
  Array.from({ length: to - from }, (_, index) => itemOf(collection, from + index, properties));
const searches = () => server.asked.filter(({ path }) => path.startsWith("/search"));
const idsOf = async (lake: Lake): Promise<string[]> =>
  ((await lake.query("select id from scenes order by id")).rows as { id: string }[]).map(({ id }) => id);
const names = (from: number, to: number): string[] =>
  Array.from({ length: to - from }, (_, index) => `scene-${from + index}`).toSorted();

describe("items of an API", () => {
  test("are rows with what the specification and its extensions say", async () => {
    const properties = {
      datetime: "2024-06-01T12:00:00.1234567+02:00",
      created: "2024-06-02t00:00:00z",
      "eo:cloud_cover": 12.5,
      "proj:code": "EPSG:32633",
      "eo:snow cover": 3,
      platform: "sentinel-2b",
      serial: 9_007_199_254_740_991,
    };
    server.collections.set("one", [
      itemOf("one", 1, properties),
      itemOf("one", 2, { datetime: null, "proj:epsg": 4326 }),
    ]);
    const options = { properties: { "eo:snow cover": "double", serial: "long", absent: "string" } };
    await using lake = await openCatalogue({ stream: "one", options });
    expect(await lake.run("scenes")).toMatchObject({ status: "published", written: 2, rejected: 0 });
    const { rows } = await lake.query(
      "select * replace (strftime(datetime at time zone 'UTC', '%Y-%m-%dT%H:%M:%S.%f') as datetime) from scenes order by id",
    );
    const [first, second] = rows as [Row, Row];
    expect(first).toMatchObject({
      id: "scene-1",
      collection: "one",
      datetime: "2024-06-01T10:00:00.123456",
      bbox: [1, 1, 2, 2],
      cloud_cover: 12.5,
      platform: "sentinel-2b",
      epsg: 32633,
      eo_snow_cover: 3,
      serial: 9_007_199_254_740_991n,
      absent: null,
      href: `${server.origin}/items/one/1.json`,
    });
    expect(JSON.parse(String(first["properties"]))).toMatchObject(properties);
    expect(JSON.parse(String(first["geometry"]))).toEqual({ type: "Point", coordinates: [1, 1] });
    expect(second).toMatchObject({ datetime: null, epsg: 4326, eo_snow_cover: null });
  });

  test.each(["merge", "body", "get"] as const)("follow each other over pages (%s)", async (paging) => {
    server.behaviour = { paging, filter: false };
    server.collections.set("many", itemsOf("many", 0, 37));
    server.collections.set("others", itemsOf("others", 0, 5));
    const options = { bbox: [0, 0, 90, 45], datetime: `${moment(3)}/..` };
    await using lake = await openCatalogue({ stream: "many", options });
    expect(await lake.run("scenes")).toMatchObject({ read: 34, written: 34 });
    expect(await idsOf(lake)).toEqual(names(3, 37));
    expect(new Set(searches().map(({ method }) => method))).toEqual(new Set([paging === "get" ? "GET" : "POST"]));
    expect(searches().length).toBeGreaterThanOrEqual(8);
  });

  test("come though the server is busy or ill for a while; pages that lead in a circle are an error", async () => {
    server.collections.set("busy", itemsOf("busy", 0, 12));
    server.faults.push({ status: 429, headers: { "retry-after": "0" } }, { status: 503 });
    await using lake = await openCatalogue({ stream: "busy" });
    expect(await lake.run("scenes")).toMatchObject({ written: 12 });
    expect(server.faults).toEqual([]);
    expect(searches().filter(({ bytes }) => bytes === 0)).toHaveLength(2);
    server.behaviour.circle = true;
    await using round = await openCatalogue({ stream: "busy" });
    await expect(round.run("scenes")).rejects.toMatchObject({ code: "unsupported", message: expect.stringContaining("circle") as string }); // prettier-ignore
    server.behaviour.circle = false;
    await using few = await openCatalogue({ stream: "busy" }, {}, { max_items: 11 });
    await expect(few.run("scenes")).rejects.toMatchObject({ code: "limit" });
    await using filtered = await openCatalogue({
      stream: "busy",
      options: { filter: { op: "<", args: [{ property: "n" }, 1] } },
    });
    server.behaviour.filter = false;
    await expect(filtered.run("scenes")).rejects.toMatchObject({ code: "unsupported" });
  });

  test.each([true, false])("that are new are read, each once (filter: %s)", async (filter) => {
    server.behaviour.filter = filter;
    const items = itemsOf("grows", 0, 25);
    server.collections.set("grows", items);
    await using lake = await openCatalogue({ stream: "grows", cursor: "updated" });
    expect(await lake.run("scenes")).toMatchObject({ written: 25 });
    expect(await lake.run("scenes")).toMatchObject({ read: 0 });
    // One of the very same moment as the last one, one that is older and came too late, and newer ones.
    items.push(itemOf("grows", 100, { updated: moment(24) }), itemOf("grows", 101, { updated: moment(3) }), ...itemsOf("grows", 25, 30)); // prettier-ignore
    server.asked.length = 0;
    expect(await lake.run("scenes")).toMatchObject({ written: 6 });
    expect(await idsOf(lake)).toEqual([...names(0, 30), "scene-100"].toSorted());
    const [first] = searches();
    expect(first!.body?.["filter"]).toEqual(
      filter ? { op: ">=", args: [{ property: "updated" }, { timestamp: "2024-06-01T00:00:24.000000Z" }] } : undefined,
    );
    items.push(itemOf("grows", 200, { updated: undefined }));
    if (!filter)
      await expect(lake.run("scenes")).rejects.toMatchObject({ code: "value", where: { column: "updated" } });
  });

  test("that came late are read again with a lag, and merged", async () => {
    const items = itemsOf("late", 0, 20);
    server.collections.set("late", items);
    await using lake = await openCatalogue(
      { stream: "late", cursor: "updated", lag: 5 },
      { mode: "merge", key: ["id"] },
    );
    expect(await lake.run("scenes")).toMatchObject({ written: 20 });
    items.push(itemOf("late", 100, { updated: moment(16) }), itemOf("late", 101, { updated: moment(2) }));
    await lake.run("scenes");
    expect(await idsOf(lake)).toEqual([...names(0, 20), "scene-100"].toSorted());
  });

  test("that change or go while a run is on are told of", async () => {
    const items = itemsOf("moves", 0, 4);
    server.collections.set("moves", items);
    const { default: definition } = await import("../../src/sources/stac/index.ts");
    const driver = await definition.load();
    const options = definition.options.parse({ url: `${server.origin}/`, allow_hosts: [server.host] });
    await using source = await driver.open(options, { connection: "earth", folder, engine: undefined as never });
    const request = { stream: "moves" };
    const plan = await source.plan(request, {});
    items.splice(1, 1);
    const payload = await source.read(plan.parts[0]!, request, {});
    if (payload.form !== "bytes") throw new Error(payload.form);
    for await (const chunk of payload.chunks) expect(chunk.length).toBeGreaterThan(0);
    expect(payload.rows!()).toBe(4);
    expect(payload.rejected!()).toMatchObject([
      { reason: "the catalogue does not have it any more", origin: "moves/scene-1" },
    ]);
    (items[0]!["properties"] as Row)["updated"] = moment(99);
    const again = await source.read(plan.parts[0]!, request, {});
    const drain = async (): Promise<void> => {
      if (again.form === "bytes") for await (const chunk of again.chunks) expect(chunk).toBeDefined();
    };
    await expect(drain()).rejects.toMatchObject({ code: "conflict" });
    await expect(source.plan({ stream: "moves", options: { bboxes: 1 } }, {})).rejects.toMatchObject({
      code: "config",
    });
    await expect(source.plan({ stream: "moves", cursor: "id" }, {})).rejects.toMatchObject({ code: "config" });
  });
});

test("a static catalogue is crawled by its links", async () => {
  const put = (path: string, value: Row): void =>
    void server.files.set(path, { body: Buffer.from(JSON.stringify(value)) });
  const link = (rel: string, href: string): Row => ({ rel, href });
  const base = { stac_version: "1.0.0", description: "" };
  put("/static/catalog.json", {
    ...base,
    type: "Catalog",
    id: "root",
    links: [link("self", "./catalog.json"), link("child", "./a/collection.json"), link("child", "b/catalog.json"), link("root", "./catalog.json")], // prettier-ignore
  });
  put("/static/a/collection.json", {
    ...base,
    type: "Collection",
    id: "a",
    links: [
      ...Array.from({ length: 12 }, (_, index) => link("item", `./${index}.json`)),
      link("parent", "../catalog.json"),
    ],
  });
  put("/static/b/catalog.json", { ...base, type: "Catalog", id: "b", links: [link("child", "../c/collection.json"), link("child", "../catalog.json")] }); // prettier-ignore
  put("/static/c/collection.json", { ...base, type: "Collection", id: "c", links: [link("item", "deep/20.json")] });
  const item = (collection: string, number: number): Row => itemOf(collection, number, {}, { links: [] });
  for (let number = 0; number < 12; number++) put(`/static/a/${number}.json`, item("a", number));
  put("/static/c/deep/20.json", item("c", 20));
  const url = `${server.origin}/static/catalog.json`;

  await using whole = await openCatalogue({ stream: "*", cursor: "updated" }, {}, { url });
  expect(await whole.run("scenes")).toMatchObject({ written: 13 });
  expect(await whole.run("scenes")).toMatchObject({ read: 0 });
  put("/static/c/deep/20.json", itemOf("c", 20, { updated: moment(500) }, { links: [] }));
  expect(await whole.run("scenes")).toMatchObject({ written: 1 });
  expect((await whole.query("select distinct href from scenes")).rows).toEqual([{ href: null }]);

  const options = { bbox: [2.5, 0, 6.5, 45], datetime: `${moment(0)}/${moment(5)}` };
  await using some = await openCatalogue({ stream: "a", options }, {}, { url });
  await some.run("scenes");
  expect(await idsOf(some)).toEqual(["scene-2", "scene-3", "scene-4", "scene-5"]);
  const streams = await Array.fromAsync(some.streams("earth"));
  expect(streams.map(({ name }) => name).toSorted()).toEqual(["a", "c"]);
  await using absent = await openCatalogue({ stream: "z" }, {}, { url });
  await expect(absent.run("scenes")).rejects.toMatchObject({ code: "not-found" });
});

describe("assets", () => {
  let gdal: Gdal;
  let cog: Buffer;
  let path = "";
  beforeAll(async () => {
    gdal = await requireGdal();
    const [width, height] = [2048, 2048];
    const values = new Uint16Array(width * height);
    let state = 3;
    for (let index = 0; index < values.length; index++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      values[index] = state >>> 16;
    }
    const plain = join(folder, "plain.tif");
    path = join(folder, "cog.tif");
    const raw = { values: new Uint8Array(values.buffer), width, height, bands: 1, type: 12 };
    await gdal.make(plain, raw, "-a_srs", "EPSG:32633", "-a_ullr", "399960", "5800020", "420440", "5779540");
    await gdal.translate(plain, path, "-of", "COG", "-co", "BLOCKSIZE=256", "-co", "COMPRESS=DEFLATE");
    cog = await readFile(path);
  }, 300_000);

  const bytesOf = (file: string): number =>
    server.asked.filter((asked) => asked.path === file).reduce((sum, { bytes }) => sum + bytes, 0);
  const put = (assets: Row): void => void server.collections.set("s2", [itemOf("s2", 1, {}, { assets })]);

  test("of which only facts or a window are wanted are not fetched as a whole", async () => {
    expect(cog.length).toBeGreaterThan(8e6);
    server.files.set("/data/b04.tif", { body: cog, type: "image/tiff", etag: '"1"' });
    put({ B04: { href: "./data/b04.tif?sig=s3cr3t", type: "image/tiff; application=geotiff" } });
    const facts = { assets: ["B04"], geotiff: { statistics: false } };
    await using lake = await openCatalogue({ stream: "s2", options: facts });
    expect(await lake.run("scenes")).toMatchObject({ written: 1, rejected: 0 });
    const [row] = (await lake.query("select * from scenes")).rows as [Row];
    expect(row).toMatchObject({
      item: "scene-1",
      collection: "s2",
      asset: "B04",
      uri: `${server.origin}/data/b04.tif`,
      size: BigInt(cog.length),
      sha256: null,
      width: 2048,
      crs: "EPSG:32633",
      is_cog: true,
      statistics: null,
      fetched: 65_536n,
    });
    expect(bytesOf("/data/b04.tif?sig=s3cr3t")).toBe(65_536);

    server.asked.length = 0;
    const geotiff = { rows: "window", bbox: [13.6, 52.2, 13.62, 52.21], pixels: "array" };
    await using windows = await openCatalogue({ stream: "s2", options: { assets: ["B04"], geotiff } });
    expect(await windows.run("scenes")).toMatchObject({ written: 1, rejected: 0 });
    const [window] = (await windows.query("select * from scenes")).rows as [Row];
    const place = (window["pixel_window"] as number[]).map(String);
    const wanted = await gdal.values(path, "-srcwin", ...place);
    expect(wanted.length).toBeGreaterThan(10_000);
    expect(Buffer.from(window["pixels"] as Uint8Array).equals(wanted)).toBe(true);
    const fetched = bytesOf("/data/b04.tif?sig=s3cr3t");
    expect(fetched).toBe(Number(window["fetched"]));
    // Four blocks of 256 × 256 pixels at most, and the header.
    expect(fetched).toBeGreaterThan(100_000);
    expect(fetched).toBeLessThan(65_536 + 4 * 150_000 + 400_000);
  });

  test("come whole from a server without ranges; what cannot be read is rejected, and the others go on", async () => {
    await using elsewhere = await startStac();
    elsewhere.files.set("/b03.tif", { body: cog, type: "image/tiff", whole: true });
    server.behaviour.authorization = "Bearer only-for-the-catalogue";
    server.files.set("/own.tif", { body: cog.subarray(0, 300_000), etag: '"1"' });
    server.files.set("/page.tif", { body: Buffer.from("<!DOCTYPE html><title>Log in</title>".repeat(9)) });
    put({
      whole: { href: `${elsewhere.origin}/b03.tif` },
      cut: { href: "own.tif" },
      page: { href: "page.tif" },
      gone: { href: "gone.tif" },
      bucket: { href: "s3://bucket/b04.tif" },
    });
    const options = { assets: ["whole", "cut", "page", "gone", "bucket", "absent"], geotiff: { overview: 2 } };
    const headers = { authorization: server.behaviour.authorization };
    const connection = { headers, allow_hosts: [server.host, elsewhere.host] };
    await using lake = await openCatalogue({ stream: "s2", options }, {}, connection);
    expect(await lake.run("scenes")).toMatchObject({ read: 6, written: 1, rejected: 5 });
    const [row] = (await lake.query("select asset, fetched, level, statistics from scenes")).rows as [Row];
    expect(row).toMatchObject({ asset: "whole", fetched: BigInt(cog.length), level: 2 });
    expect((row["statistics"] as Row[])[0]!["maximum"]).toBeGreaterThan(30_000);
    // The token is for the host of the catalogue only.
    expect(elsewhere.asked.map(({ authorization }) => authorization)).toEqual([undefined]);
    expect(server.asked.every(({ authorization }) => authorization === headers.authorization)).toBe(true);
    const { rows } = await lake.query("select origin, reason from scenes__rejected");
    const reasons = Object.fromEntries(
      (rows as Row[]).map(({ origin, reason }) => [String(origin).split("#")[1], reason]),
    );
    expect(Object.keys(reasons).toSorted()).toEqual(["absent", "bucket", "cut", "gone", "page"]);
    expect(reasons["cut"]).toContain("it ends before its pixels do");
    expect(reasons["page"]).toContain("it is no TIFF");
    expect(reasons["gone"]).toContain("answers 404");
    expect(reasons["bucket"]).toContain("not one of HTTP");
    expect(reasons["absent"]).toContain("has no asset `absent`");

    await using small = await openCatalogue({ stream: "s2", options: { assets: ["whole"] } }, {}, { ...connection, asset_max_bytes: 1e6 }); // prettier-ignore
    expect(await small.run("scenes")).toMatchObject({ written: 0, rejected: 1 });
    await using wrong = await openCatalogue({ stream: "s2", options: { assets: ["whole"], geotiff: { tile: 7 } } }, {}, connection); // prettier-ignore
    await expect(wrong.run("scenes")).rejects.toMatchObject({ code: "config" });
  });

  test("what is to be fetched has no holes to be asked for one by one, and nothing twice", () => {
    expect(joined([[5, 9], [0, 5], [20, 30], [25, 28]])).toEqual([[0, 9], [20, 30]]); // prettier-ignore
    const present: [number, number][] = [[0, 100]];
    expect(mergedRanges([[50, 200], [300, 400]], present, 1e6)).toEqual([[100, 400]]); // prettier-ignore
    expect(mergedRanges([[0, 90]], present, 1e6)).toEqual([]);
    expect(mergedRanges([[200_000, 200_010], [500_000, 500_001]], present, 1e6)).toEqual([[200_000, 200_010], [500_000, 500_001]]); // prettier-ignore
  });
});
