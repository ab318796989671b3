import { spawnSync } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { configFrom } from "../../src/config/index.ts";
import { isMillraceError } from "../../src/core/index.ts";
import { registry } from "../../src/registry.ts";
import { millrace } from "../cli/millrace.ts";
import { openPlace, type Place } from "../support/flows.ts";
import { joinOracle, randomCase, type FeatureRow, type JoinCase } from "./features-oracle.ts";

const ndjson = (rows: readonly object[]): string => `${rows.map((row) => JSON.stringify(row)).join("\n")}\n`;
const moment = (seconds: number | null): string | null =>
  seconds === null ? null : new Date(Date.UTC(2024, 0, 1) + seconds * 1000).toISOString().slice(0, 19);
const places: Place[] = [];
afterAll(async () => {
  for (const place of places) await place[Symbol.asyncDispose]();
});
async function newPlace(): Promise<Place> {
  const place = await openPlace();
  places.push(place);
  return place;
}

/** A dataset of the files that match, with the types given. */
const loaded = (path: string, list: string): Record<string, unknown> => ({
  from: { path, format: "ndjson" },
  mode: "replace",
  transform: `select ${list} from input`,
});

describe("against the definition, for random rows", () => {
  const cases = Array.from({ length: 60 }, (_, seed) => randomCase(seed + 1));
  const entities = cases.flatMap((one, c) => one.entities.map((row) => ({ c, ...row, t: moment(row.t) })));
  const written = (rows: readonly FeatureRow[], c: number): object[] =>
    rows.map((row) => ({ c, ...row, at: moment(row.at), known: moment(row.known) }));
  let place: Place;

  const configure = (type: string): Promise<void> =>
    place.configure(
      {
        labels: loaded("labels.ndjson", `c::int as c, id::bigint as id, k::varchar as k, t::${type} as t`),
        readings: loaded(
          "readings*.ndjson",
          `c::bigint as c, k::varchar as station, "at"::${type} as at, known::${type} as known, tie::int as tie, x::int as x`,
        ),
      },
      {
        features: Object.fromEntries(
          [false, true].flatMap((bitemporal) =>
            [undefined, 5].map((ttl) => [
              `joined_${bitemporal}_${ttl}`,
              {
                entities: "labels",
                at: "t",
                from: [
                  {
                    dataset: "readings",
                    key: { c: "c", k: "station" },
                    at: "at",
                    tie: "tie",
                    columns: ["at", "known", "tie", "x"],
                    ...(bitemporal ? { known_at: "known" } : {}),
                    ...(ttl === undefined ? {} : { ttl: `${ttl}s` }),
                  },
                ],
              },
            ]),
          ),
        ),
      },
    );

  const expected = (one: JoinCase, c: number): string[] =>
    [...joinOracle(one)].map(([id, row]) =>
      JSON.stringify([c, id, moment(row?.at ?? null), moment(row?.known ?? null), row?.tie ?? null, row?.x ?? null]),
    );
  const joined = async (name: string): Promise<string[]> => {
    const rows = await place.with((lake) =>
      lake.query(
        `select c, id, strftime("at", '%Y-%m-%dT%H:%M:%S') as at, strftime(known, '%Y-%m-%dT%H:%M:%S') as known, tie, x from ${name}`,
        { maximumRows: 1e6 },
      ),
    );
    return rows.rows.map(({ c, id, at, known, tie, x }) => JSON.stringify([c, Number(id), at, known, tie, x])).sort();
  };

  beforeAll(async () => {
    place = await newPlace();
    await place.write("labels.ndjson", ndjson(entities));
    await place.write(
      "readings-0.ndjson",
      ndjson(
        cases.flatMap((one, c) =>
          written(
            one.features.filter((_, i) => i % 2 === 0),
            c,
          ),
        ),
      ),
    );
    // A second version file, so that rows of several files are told apart.
    await place.write(
      "readings-1.ndjson",
      ndjson(
        cases.flatMap((one, c) =>
          written(
            one.features.filter((_, i) => i % 2 === 1),
            c,
          ),
        ),
      ),
    );
    await configure("timestamp");
    await place.with(async (lake) => {
      await lake.run("labels");
      await lake.run("readings");
    });
  });

  test.each([
    [false, undefined],
    [false, 5],
    [true, undefined],
    [true, 5],
  ])("known_at: %s, ttl: %s", async (bitemporal, ttl) => {
    const name = `joined_${bitemporal}_${ttl}`;
    const report = await place.with((lake) => lake.features(name));
    const withoutMoment = entities.filter((row) => row.t === null).length;
    expect(report).toMatchObject({ status: "published", read: entities.length, rejected: withoutMoment });
    expect(withoutMoment).toBeGreaterThan(0);
    const wanted = cases.flatMap((one, c) => expected({ ...one, bitemporal, ttl }, c)).sort();
    expect(await joined(name)).toEqual(wanted);
    // The cases are not trivial: both answers and gaps, ties and late rows decide some.
    expect(wanted.filter((row) => row.endsWith("null,null]")).length).toBeGreaterThan(100);
    expect(wanted.filter((row) => !row.includes("null,null,null")).length).toBeGreaterThan(100);
  });

  test("what happens or becomes known later changes nothing, and what lies after all entities is never joined", async () => {
    const before = await joined("joined_true_undefined");
    const cut = 20;
    const changed = cases.flatMap((one, c) =>
      written(
        one.features.map((row) => {
          const isLater = (row.at ?? 0) > cut || (row.known ?? 0) > cut;
          return isLater ? { ...row, x: -1, tie: 1e6 } : row;
        }),
        c,
      ),
    );
    await place.write("readings-0.ndjson", ndjson(changed));
    await place.write(
      "readings-1.ndjson",
      ndjson(
        cases.flatMap((one, c) =>
          written(
            one.features.map((row) => ({ ...row, at: cut + 1, known: 0 })),
            c,
          ),
        ),
      ),
    );
    await place.run("readings");
    await place.with((lake) => lake.features("joined_true_undefined"));
    const early = new Set(
      entities.filter((row) => row.t !== null && row.t <= moment(cut)!).map((row) => `[${row.c},${row.id},`),
    );
    const ofEarly = (rows: string[]): string[] => rows.filter((row) => early.has(/^\[\d+,\d+,/.exec(row)![0]));
    const after = await joined("joined_true_undefined");
    expect(ofEarly(before).length).toBeGreaterThan(1000);
    expect(ofEarly(after)).toEqual(ofEarly(before));
    expect(after).not.toEqual(before);

    await place.write(
      "readings-0.ndjson",
      ndjson(
        cases.flatMap((one, c) =>
          written(
            one.features.map((row) => ({ ...row, at: 1e6, known: 0 })),
            c,
          ),
        ),
      ),
    );
    await place.write(
      "readings-1.ndjson",
      ndjson(
        cases.flatMap((one, c) =>
          written(
            one.features.map((row) => ({ ...row, at: 0, known: 1e6 })),
            c,
          ),
        ),
      ),
    );
    await place.run("readings");
    await place.with((lake) => lake.features("joined_true_undefined"));
    expect((await joined("joined_true_undefined")).every((row) => row.endsWith("null,null,null,null]"))).toBe(true);
  });
});

describe("features as a flow", () => {
  let place: Place;
  const training = {
    entities: "labels",
    at: "t",
    key: ["station"],
    from: [
      { dataset: "weather", at: "at", ttl: "2d", prefix: "weather_" },
      { dataset: "prices", key: [], at: "day", columns: ["price"] },
    ],
  };
  const datasets = {
    labels: loaded(
      "labels.ndjson",
      "id::int as id, station::varchar as station, t::timestamp as t, late::boolean as late",
    ),
    weather: loaded("weather.ndjson", 'station::varchar as station, "at"::timestamp as at, rain::double as rain'),
    prices: loaded("prices.ndjson", "day::timestamp as day, price::decimal(8,2) as price"),
  };
  const label = (id: number, station: string, t: string | null): object => ({ id, station, t, late: id % 2 === 0 });

  beforeAll(async () => {
    place = await newPlace();
    await place.write(
      "labels.ndjson",
      ndjson([
        label(1, "SEA", "2024-01-02T00:00:00"),
        label(2, "SEA", "2024-01-01T12:00:00"),
        label(3, "SEA", "2024-02-01T00:00:00"),
        label(4, "JFK", "2024-01-02T00:00:00"),
        label(5, "SEA", null),
      ]),
    );
    await place.write(
      "weather.ndjson",
      ndjson([
        { station: "SEA", at: "2024-01-01T12:00:00.000001", rain: 2.5 },
        { station: "SEA", at: "2024-01-01T12:00:00", rain: 1.5 },
        { station: "SEA", at: "2023-12-01T00:00:00", rain: 0.5 },
      ]),
    );
    await place.write(
      "prices.ndjson",
      ndjson([
        { day: "2024-01-01", price: 1.25 },
        { day: "2024-01-31", price: 3 },
      ]),
    );
    await place.configure(datasets, { features: { training } });
    await place.with(async (lake) => {
      for (const name of Object.keys(datasets)) await lake.run(name);
    });
  });

  test("several datasets, with a key and by time alone; nulls where nothing counts; the moment itself counts", async () => {
    const outcome = await millrace(place.folder, ["features", "training"]);
    expect(outcome.stderr).not.toContain("error");
    expect(outcome.stdout).toContain("training@1 published");
    expect(await place.rows("select id, weather_rain, price from training order by id")).toEqual([
      { id: 1, weather_rain: 2.5, price: "1.25" },
      { id: 2, weather_rain: 1.5, price: "1.25" },
      { id: 3, weather_rain: null, price: "3.00" },
      { id: 4, weather_rain: null, price: "1.25" },
    ]);
    expect(await place.rows("select reason, origin from training__rejected")).toEqual([
      { reason: expect.stringContaining("`t`"), origin: "flow training" },
    ]);
  });

  test("nothing new makes no version; a new version of an input, another choice and another entry do", async () => {
    expect(await place.with((lake) => lake.features("training"))).toMatchObject({ status: "unchanged", version: 1 });
    expect(await place.run("training")).toMatchObject({ status: "unchanged", version: 1 });
    await place.write("prices.ndjson", ndjson([{ day: "2024-01-01", price: 9 }]));
    await place.run("prices");
    expect(await place.run("training")).toMatchObject({ status: "published", version: 2 });
    const lineage = await place.with(
      async (lake) => (await lake.dataset("training")).version.summary["millrace.lineage"]!,
    );
    expect(JSON.parse(lineage)).toMatchObject({
      source: "features",
      stream: "training",
      inputs: [
        { dataset: "labels", version: 1 },
        { dataset: "weather", version: 1 },
        { dataset: "prices", version: 2 },
      ],
    });
    await place.with(async (lake) => lake.tag("labels@1", "gold"));
    await place.configure(datasets, {
      features: { training: { ...training, from: [{ ...training.from[0], ttl: "99d" }, training.from[1]] } },
    });
    expect(await place.run("training")).toMatchObject({ status: "published", version: 3 });
    expect(await place.rows("select weather_rain from training where id = 3")).toEqual([{ weather_rain: 2.5 }]);
    const choose = async (...more: string[]): Promise<object> =>
      JSON.parse(
        (await millrace(place.folder, ["features", "training", "--entities", "labels@gold", "--json", ...more])).stdout,
      );
    expect(await choose()).toMatchObject({ status: "published", version: 4, read: 5, rejected: 1 });
    expect(await choose()).toMatchObject({ status: "unchanged", version: 4 });
    expect(await choose("--full")).toMatchObject({ status: "published", version: 5 });
  });

  test("a flow of its own brings transform, checks and splits; its rows go to a file as well", async () => {
    await place.configure(
      {
        ...datasets,
        examples: {
          from: { features: "training" },
          mode: "replace",
          key: ["id"],
          transform: "select *, weather_rain is null as dry from input",
          checks: [{ check: "unique", columns: ["id"] }],
          split: { by: "time", column: "t", boundaries: { test: "2024-02-01" } },
        },
      },
      { features: { training } },
    );
    expect(await place.with((lake) => lake.features("training"))).toMatchObject({
      flow: "examples",
      dataset: "examples",
      status: "published",
      splits: { train: 3, test: 1 },
      checks: [{ check: "unique" }, { check: "not-null", rejected: 1 }, { check: "split-leakage" }],
    });
    const file = join(place.folder, "out/training.parquet");
    const outcome = await millrace(place.folder, ["features", "training", "--to", file]);
    expect(outcome.stdout).toContain("4 rows");
    expect(outcome.stdout).toContain("1 row without a moment left out");
    expect(await readdir(join(place.folder, "out"))).toEqual(["training.parquet"]);
    await place.configure({ back: { from: { path: "out/*.parquet" } } });
    await place.run("back");
    expect(await place.rows("select id, dry, split from back order by id")).toEqual([
      { id: 1, dry: false, split: "train" },
      { id: 2, dry: false, split: "train" },
      { id: 3, dry: true, split: "test" },
      { id: 4, dry: true, split: "train" },
    ]);
    await place.configure({ ...datasets }, { features: { training } });
  });

  test("a record that was refused is not replayed without its features", async () => {
    const refused = place.with((lake) => lake.replay("training", { set: { t: "timestamp '2024-01-01'" } }));
    await expect(refused).rejects.toMatchObject({
      code: "unsupported",
      hint: expect.stringContaining("features training"),
    });
  });

  test("rows that tie without anything to tell them apart always give the same one", async () => {
    const other = await newPlace();
    const rows = Array.from({ length: 50 }, (_, index) => ({ k: "a", at: "2024-01-01", x: index }));
    await other.write("labels.ndjson", ndjson([{ k: "a", t: "2024-01-01" }]));
    await other.configure(
      {
        labels: loaded("labels.ndjson", "k::varchar as k, t::timestamp as t"),
        values: loaded("values.ndjson", 'k::varchar as k, "at"::timestamp as at, x::int as x'),
      },
      { features: { joined: { entities: "labels", at: "t", key: ["k"], from: [{ dataset: "values", at: "at" }] } } },
    );
    await other.run("labels");
    const seen = new Set<string>();
    for (const order of [rows, rows.toReversed(), [...rows.slice(25), ...rows.slice(0, 25)]]) {
      await other.write("values.ndjson", ndjson(order));
      await other.run("values");
      await other.run("joined");
      seen.add(JSON.stringify(await other.rows("select * from joined")));
    }
    expect(seen.size).toBe(1);
  });

  test("moments and keys of types that do not fit are refused, with what to write", async () => {
    const problemOf = async (change: object, flows: Record<string, unknown> = {}): Promise<string> => {
      await place.configure({ ...datasets, ...flows }, { features: { training: { ...training, ...change } } });
      try {
        await place.with(async (lake) => {
          for (const name of Object.keys(flows)) await lake.run(name);
        });
        await place.with((lake) => lake.features("training"));
      } catch (error) {
        if (isMillraceError(error)) return `${error.code}: ${error.message}; ${error.hint}`;
        throw error;
      }
      return "no problem";
    };
    const from = (feature: object): object => ({ from: [{ dataset: "weather", at: "at", ...feature }] });
    const zoned = { zoned: loaded("weather.ndjson", 'station::varchar as station, "at"::timestamptz as at, 1 as x') };
    expect(await problemOf(from({ dataset: "zoned" }), zoned)).toMatch(
      /config: .*type `timestamptz`, but `at` is `t` of type `timestamp`.*"at" at time zone 'UTC'/,
    );
    const daily = { daily: loaded("weather.ndjson", 'station::varchar as station, "at"::date as at, 1 as x') };
    expect(await problemOf(from({ dataset: "daily" }), daily)).toMatch(
      /type `date`, but .*cast\("at" \+ 1 as timestamp\)/,
    );
    expect(await problemOf({ at: "station" })).toMatch(/`at` is `station` of type `string`, but a moment is/);
    expect(await problemOf({ at: "tt" })).toContain("did you mean");
    expect(await problemOf(from({ key: { id: "station" } }))).toMatch(/key `id` .* `int`, but `station` .* `string`/);
    expect(await problemOf(from({ columns: ["rein"] }))).toContain("did you mean `rain`");
    expect(await problemOf(from({ columns: ["station"] }))).toMatch(/have one already.*prefix: weather_/);
    expect(await problemOf({ key: undefined })).toMatch(/config: .*has no `key`/);
    expect(await problemOf(from({ ttl: "2 fortnights" }))).toMatch(/a duration is a number with a unit/);
    expect(await problemOf({ entities: "nothing" })).toMatch(/not-found: .*nothing/);
    const appends = { other: { from: { features: "training" } } };
    expect(await problemOf({}, appends)).toMatch(/mode` must be `replace`/);
    await place.configure(datasets, { features: { training } });
    expect((await millrace(place.folder, ["features", "trainin"])).stderr).toContain("did you mean `training`");
  });
});

test("the configurations of the guide are accepted as written", async () => {
  const guide = await readFile(new URL("../../docs/guide/features.md", import.meta.url), "utf8");
  const blocks = [...guide.matchAll(/```yaml\n([\s\S]*?)```/g)].map((match) => match[1]!);
  expect(blocks.length).toBeGreaterThan(1);
  for (const text of blocks) await configFrom(parse(text), "/", registry);
});

describe("larger than memory", () => {
  /** Reads a million entities and 1.65 million features, of which a third comes late, within 200 MB, most of them under one key. */
  const script = (folder: string): string => `
    const { openLake } = await import(${JSON.stringify(new URL("../../src/index.ts", import.meta.url).href)});
    const report = await (async () => {
      await using lake = await openLake({ folder: ${JSON.stringify(folder)} });
      for (const name of ["labels", "readings"]) await lake.run(name);
      return await lake.features("joined");
    })();
    console.log(JSON.stringify({ ...report, peak: process.resourceUsage().maxRSS }));
  `;

  test("millions of rows under one key, with ties and late rows, within a small limit", async () => {
    const place = await newPlace();
    await place.write("one.csv", "one\n1\n");
    const flow = (transform: string): object => ({ from: { path: "one.csv" }, mode: "replace", transform });
    // Entities at each third second; a reading at each second second, every fourth of them known 100 seconds late, every tenth twice.
    await place.configure(
      {
        labels: flow("select i as id, i % 50 = 0 as other, epoch_ms(i * 3000) as t from range(1000000) as r(i), input"),
        readings: flow(
          `select i % 10 = 9 and copy = 0 as second, i, epoch_ms(i * 2000) as at, false as other,
                  epoch_ms(i * 2000 + if(i % 4 = 0, 100000, 0)) as known, repeat(md5(i::varchar), 2) as text
           from range(1500000) as r(i), range(2) as c(copy), input where copy = 1 or i % 10 = 9`,
        ),
      },
      {
        engine: { memoryLimit: "200MB", threads: 2 },
        features: {
          joined: {
            entities: "labels",
            at: "t",
            from: [{ dataset: "readings", key: ["other"], at: "at", known_at: "known", tie: "second", ttl: "150s" }],
          },
        },
      },
    );
    const child = spawnSync(process.execPath, ["--input-type=module", "--eval", script(place.folder)], {
      encoding: "utf8",
    });
    expect(child.stderr).toBe("");
    const report = JSON.parse(child.stdout) as { status: string; written: number; peak: number };
    expect(report).toMatchObject({ status: "published", written: 1_000_000 });
    expect(report.peak).toBeLessThan(800_000);
    // The newest even second not after `t` is 2j; one that is known late gives way to the one before.
    expect(
      await place.rows(
        `select count(*) as rows, count(i) as found,
           count(*) filter (where i is not distinct from case when other then null when j % 4 = 0 then j - 1 else j end) as correct,
           count(*) filter (where second = (i % 10 = 9) and text = repeat(md5(i::varchar), 2)) as intact
         from (select *, epoch_ms(t) // 2000 as j from joined)`,
      ),
    ).toEqual([{ rows: 1_000_000n, found: 980_000n, correct: 1_000_000n, intact: 980_000n }]);
  });
});
