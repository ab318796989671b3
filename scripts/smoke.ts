/**
 * Tries a live service, where tests only have its likeness, and leaves it as it was:
 *
 *     npm run smoke -- s3 s3://bucket/prefix '{ "region": "eu-central-1" }'
 *
 *     npm run smoke -- dynamodb table '{ "region": "eu-central-1" }'
 *
 *     npm run smoke -- kinesis clicks '{ "region": "eu-central-1" }'
 *
 * The second argument is the address of a store, the table or the URL of a sink, the stream of a source, the third its other options as JSON. Credentials come from the environment or the
 * options; `${env:NAME}` is resolved. Ends with 1 when something does not hold, and says what.
 */
import { randomBytes, randomUUID } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MillraceError, type Store, isMillraceError, messageOf, redact, resolveReferences } from "../src/core/index.ts";
import { openLake } from "../src/index.ts";
import { registry } from "../src/registry.ts";
import { smokeSink } from "./smoke-sink.ts";
import { smokeSource } from "./smoke-source.ts";

const [name = "", address = "", json = "{}"] = process.argv.slice(2);

function hold(condition: boolean, what: string): void {
  if (!condition) throw new MillraceError("corrupt", `it does not hold that ${what}`);
}

async function options(): Promise<Record<string, unknown>> {
  const definition = await registry.stores[name]?.load();
  const fromAddress = definition?.address?.(address);
  if (fromAddress === undefined) {
    throw new MillraceError("usage", `\`${name} ${address}\` is not a store and its address`, {
      hint: 'npm run smoke -- s3 s3://bucket/prefix \'{ "region": "eu-central-1" }\'',
    });
  }
  const more = JSON.parse(await resolveReferences(json, process.cwd())) as Record<string, unknown>;
  const prefix = [fromAddress["prefix"], `millrace-smoke-${randomUUID()}`].filter(Boolean).join("/");
  return { ...fromAddress, ...more, prefix };
}

/** What the second argument is of a sink that has no `url`. */
const addressKeys: Record<string, string> = { dynamodb: "table" };

const steps: Record<string, (store: Store, folder: string) => Promise<void>> = {
  "a second conditional create is refused": (store) => store.check(),
  "of eight creates at the same time one wins": async (store) => {
    const outcomes = await Promise.allSettled(
      Array.from({ length: 8 }, (_, writer) => store.write("race", Buffer.from(`${writer}`), { ifAbsent: true })),
    );
    hold(outcomes.filter(({ status }) => status === "fulfilled").length === 1, "exactly one wins");
    const refused = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason as unknown] : []));
    const other = refused.find((error) => !isMillraceError(error) || error.code !== "already-exists");
    if (other !== undefined) throw other;
  },
  "a file of 20 MiB goes in by parts and comes back by ranges": async (store, folder) => {
    const bytes = randomBytes(20 * 1024 * 1024 + 7);
    await writeFile(join(folder, "large"), bytes);
    await store.adopt(join(folder, "large"), "data/large file+1.bin");
    await using file = await store.open("data/large file+1.bin");
    hold(file.size === bytes.length, "it has its size");
    for (const [offset, length] of [
      [0, 10],
      [8_388_600, 20],
      [file.size - 5, 5],
    ] as const) {
      const range = await file.read(offset, length);
      hold(bytes.subarray(offset, offset + length).equals(range), `the ${length} bytes at ${offset} are right`);
    }
    hold(bytes.equals(await store.read("data/large file+1.bin")), "the whole is right");
  },
  "listings name what is there": async (store) => {
    const paths: string[] = [];
    for await (const { path } of store.list("")) paths.push(path);
    hold(paths.toSorted().join() === "data/large file+1.bin,race", "two objects are listed");
    hold((await store.folders?.())?.join() === "data", "one folder is named");
  },
  "what is absent is not found": async (store) => {
    const error: unknown = await store.read("absent").catch((reason: unknown) => reason);
    if (!isMillraceError(error) || error.code !== "not-found") throw error;
  },
};

async function useLake(store: Record<string, unknown>, folder: string): Promise<void> {
  await writeFile(join(folder, "rows.csv"), "id,price\n1,2\n2,3\n");
  const flow = { from: { path: join(folder, "rows.csv") } };
  const config = { store: { ...store, store: name }, cache: { path: join(folder, "cache") }, flows: { rows: flow } };
  await using lake = await openLake({ folder, config: config as never });
  hold((await lake.run("rows")).written === 2, "two rows are written");
  hold((await lake.query("select sum(price)::int as sum from rows")).rows[0]?.["sum"] === 5, "their sum is 5");
  hold((await lake.verify("rows", { deep: true })).problems.length === 0, "the dataset is whole");
}

async function main(): Promise<void> {
  if (Object.hasOwn(registry.sinks, name)) {
    const more = JSON.parse(await resolveReferences(json, process.cwd())) as Record<string, unknown>;
    await smokeSink(name, { ...(address === "-" ? {} : { [addressKeys[name] ?? "url"]: address }), ...more });
    return;
  }
  if (Object.hasOwn(registry.sources, name)) {
    const more = JSON.parse(await resolveReferences(json, process.cwd())) as Record<string, unknown>;
    await smokeSource(name, address, more);
    return;
  }
  const chosen = await options();
  const definition = await registry.stores[name]!.load();
  const driver = await definition.load();
  const folder = await mkdtemp(join(tmpdir(), "millrace-smoke-"));
  await using store = await driver.open(definition.options.parse(chosen), { connection: "smoke", folder });
  let failure: unknown;
  try {
    for (const [what, step] of Object.entries(steps)) {
      await step(store, folder);
      console.log(`✓ ${what}`);
    }
    await useLake(chosen, folder);
    console.log("✓ a flow is run, queried and verified");
  } catch (error) {
    failure = error;
  }
  try {
    for await (const { path } of store.list("")) await store.remove(path);
  } catch (error) {
    // What went wrong first says more.
    failure ??= error;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  if (failure !== undefined) throw failure;
  console.log("nothing is left behind");
}

try {
  await main();
} catch (error) {
  const hint = isMillraceError(error) && error.hint !== undefined ? `\n  hint: ${error.hint}` : "";
  console.error(redact(`✗ ${messageOf(error)}${hint}`));
  process.exitCode = 1;
}
