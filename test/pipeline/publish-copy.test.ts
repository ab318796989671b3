import { readdirSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openLake } from "../../src/index.ts";
import { startPostgres } from "../services/postgres.ts";
import { makePlace, type Place } from "./place.ts";

let place: Place;
let server: Awaited<ReturnType<typeof startPostgres>>;

beforeAll(async () => {
  place = await makePlace();
  server = await startPostgres();
});
afterAll(async () => {
  await server.stop();
  await place[Symbol.asyncDispose]();
});

const configure = (publish: unknown): Promise<void> =>
  writeFile(
    join(place.folder, "millrace.yaml"),
    JSON.stringify({
      store: "./lake",
      connections: { online: { sink: "postgres", url: server.adminUrl } },
      flows: {
        airports: {
          from: { path: "a*.csv" },
          mode: "merge",
          key: ["code"],
          ...(publish === undefined ? {} : { publish }),
        },
      },
    }),
  );

describe("published copies", () => {
  test("by the verb: once for each version, looked up by key, and the next version takes its place", async () => {
    await writeFile(join(place.folder, "a1.csv"), "code,big,x\nJFK,9007199254740993,1.5\nLAX,2,\n");
    await configure(undefined);
    await using lake = await openLake({ folder: place.folder });
    await lake.run("airports");
    const options = { to: "online", key: ["code"] };
    const leases: number[] = [];
    // The folder goes with its last file.
    const held = (): string[] =>
      readdirSync(join(place.folder, "lake/airports"), { recursive: true, encoding: "utf8" }).filter((path) =>
        path.startsWith("leases/"),
      );
    const onProgress = (): void => void leases.push(held().length);
    expect(await lake.publish("airports", { ...options, onProgress })).toMatchObject([
      { status: "published", version: 1, rows: 2, target: "airports" },
    ]);
    // The version is leased while it is read.
    expect(new Set(leases)).toEqual(new Set([1]));
    expect(held()).toEqual([]);
    expect(await lake.publish("airports", options)).toMatchObject([{ status: "unchanged", version: 1 }]);
    expect(await server.query("SELECT code, big::text, x::text FROM airports ORDER BY code")).toEqual([
      { code: "JFK", big: "9007199254740993", x: "1.5" },
      { code: "LAX", big: "2", x: null },
    ]);
    await using copy = await lake.lookup("airports", { connection: "online" });
    expect(await copy.get([["LAX"], ["NO"]])).toMatchObject({
      version: 1,
      rows: [{ code: "LAX", big: 2n }, undefined],
    });
    await writeFile(join(place.folder, "a2.csv"), "code,big,x\nSFO,3,3\n");
    await lake.run("airports");
    expect(await lake.publish("airports", options)).toMatchObject([{ status: "published", version: 2, rows: 3 }]);
    expect(await copy.get([["SFO"]])).toMatchObject({ version: 2, rows: [{ code: "SFO" }] });
  });

  test("after a run that says so; a copy that fails leaves the version, and the next run makes up for it", async () => {
    await configure([{ connection: "online", key: ["code"], target: "flown" }]);
    await writeFile(join(place.folder, "a3.csv"), "code,big,x\nBER,4,4\n");
    await using lake = await openLake({ folder: place.folder });
    await server.query("CREATE TABLE flown (other int)");
    const failed = await lake.run("airports").then(
      (report) => report as unknown,
      (error: unknown) => error,
    );
    expect(JSON.stringify(failed)).toContain("flown");
    expect((await lake.history("airports")).at(-1)).toMatchObject({ number: 3, rows: 4 });
    await server.query("DROP TABLE flown");
    await lake.run("airports");
    expect(await server.query("SELECT count(*)::int AS n FROM flown")).toEqual([{ n: "4" }]);
  });
});
