import { copyFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { parse } from "yaml";
import { openPlace, type Place } from "../support/flows.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const data = join(root, "node_modules/vega-datasets/data");
// Those that train a model: `training-examples.test.ts`.
const examples = (await readdir(join(root, "examples"))).filter(
  (name) =>
    existsSync(join(root, "examples", name, "millrace.yaml")) && !existsSync(join(root, "examples", name, "train.py")),
);

/** Lays the data of an example into its folder, as its program does. */
const deliver: Record<string, (folder: string) => Promise<void>> = {
  async quickstart(folder) {
    await mkdir(join(folder, "incoming/weather"), { recursive: true });
    for (const name of ["airports.csv", "movies.json", "flights-3m.parquet"])
      await copyFile(join(data, name), join(folder, "incoming", name));
    await copyFile(join(data, "seattle-weather.csv"), join(folder, "incoming/weather/seattle.csv"));
  },
};

const places: Place[] = [];
afterAll(async () => {
  for (const place of places) await place[Symbol.asyncDispose]();
});

test.each(examples)("no split of the example %s leaks", async (name) => {
  const text = await readFile(join(root, "examples", name, "millrace.yaml"), "utf8");
  const { flows } = parse(text) as { flows: Record<string, { split?: object; into?: string }> };
  const split = Object.entries(flows).filter(([, flow]) => flow.split !== undefined);
  if (split.length === 0) return;
  expect(deliver, `the example ${name} has splits: say in this test how its data is laid out`).toHaveProperty(name);
  const place = await openPlace();
  places.push(place);
  // One flight of ten tells as much as all.
  await writeFile(
    join(place.folder, "millrace.yaml"),
    text.replace("delay > 15 as late\n      from input", "$& where hash(date, origin) % 10 = 0"),
  );
  await deliver[name]!(place.folder);
  for (const flow of Object.keys(flows)) expect(await place.run(flow)).toMatchObject({ status: "published" });
  for (const [flow, { into }] of split) {
    const report = await place.with((lake) => lake.leakage(into ?? flow));
    expect(report.status, JSON.stringify(report.checks)).not.toBe("failed");
    expect(report.checks.find(({ check }) => check === "split-leakage")).toMatchObject({ status: "passed" });
  }
});
