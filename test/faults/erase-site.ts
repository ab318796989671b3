import { existsSync, writeFileSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { stringify } from "yaml";
import { MillraceError } from "../../src/core/index.ts";
import type { EraseReport, Lake } from "../../src/pipeline/index.ts";
import { openStore, type StoreChoice } from "../dataset/store-choice.ts";
import { makePlace, type Place } from "../pipeline/place.ts";
import {
  canaries,
  columns,
  filesWithCanaries,
  flow,
  lakeWithPerson,
  person,
  rowsByVersion,
  where,
} from "../support/person-lake.ts";
import { registryWithStore, watched } from "../support/store.ts";
import type { ChildOptions } from "./child.ts";
import type { MutantName } from "./mutants.ts";

/** A lake that holds a person everywhere where rows can be, also in what an unfinished run has staged. */
export interface EraseSite extends AsyncDisposable {
  place: Place;
  /** The command that erases the person. Of its reach of the store everything goes through `endpoint`, where there is one. */
  command(mutant?: MutantName): ChildOptions;
  /** What is wrong right after the command was killed: each version must read as before or without the person, and all alike. */
  afterKill(): Promise<string[]>;
  /** Gives the command again, as it is; what is wrong with what is there then. */
  afterRepeat(): Promise<string[]>;
}

const request = { where, text: [canaries[0]!] };

/** `choice` is how this process reaches the store, `endpoint` how the command does. */
export async function eraseSite(folder: string, choice: StoreChoice, endpoint?: string): Promise<EraseSite> {
  const place = await makePlace(folder);
  const store = { store: choice.module, ...choice.options };
  const flows = { people: flow };
  const open = (): Promise<Lake> => place.open(flows, { sections: { store } });
  await mkdir(folder, { recursive: true });
  const reached = endpoint === undefined ? store : { ...store, endpoint };
  writeFileSync(
    join(folder, "millrace.yaml"),
    stringify({ store: reached, cache: { path: `${folder}-cache` }, flows }),
  );
  const { numbers, all, expected } = await build(place, store, open);

  const judge = async (look: (lake: Lake, wrong: string[]) => Promise<void>): Promise<string[]> => {
    const wrong: string[] = [];
    try {
      await using lake = await open();
      await look(lake, wrong);
    } catch (error) {
      wrong.push(String(error));
    }
    return wrong;
  };
  const same = (left: unknown, right: unknown): boolean => JSON.stringify(left) === JSON.stringify(right);
  return {
    place,
    command: (mutant) => ({
      program: "millrace.ts",
      args: ["erase", "people", "--where", where, "--text", canaries[0]!, "--yes", "--json"],
      cwd: folder,
      mutant,
    }),
    afterKill: () =>
      judge(async (lake, wrong) => {
        const seen = await rowsByVersion(lake, numbers);
        if (!same(seen, all) && !same(seen, expected))
          wrong.push("versions are neither as before nor all without the person");
        const { pending } = (await lake.dataset("people")).dataset.erasures();
        const problems = (await lake.verify("people", { deep: true })).problems.map(({ problem }) => problem);
        const isSaid = problems.length === 1 && problems[0]!.includes("is not finished");
        if (pending === undefined ? problems.length > 0 : !isSaid) wrong.push(`verify says: ${problems.join("; ")}`);
      }),
    afterRepeat: () =>
      judge(async (lake, wrong) => {
        await lake.erase("people", request);
        if (!same(await rowsByVersion(lake, numbers), expected))
          wrong.push("versions are not those without the person");
        for (const name of ["people", "people__rejected"]) {
          const { problems } = await lake.verify(name, { deep: true });
          wrong.push(...problems.map(({ problem }) => `${name}: ${problem}`));
        }
        const { status }: EraseReport = await lake.erase("people", { ...request, dryRun: true });
        if (status !== "nothing") wrong.push(`a search after it says \`${status}\``);
        const { epoch, pending, done } = (await lake.dataset("people")).dataset.erasures();
        const [first] = done;
        if (
          epoch !== 1 ||
          pending !== undefined ||
          done.length !== 1 ||
          first!.rows !== 5 ||
          !same(first!.versions, numbers)
        ) {
          wrong.push(`the tombstones are ${JSON.stringify(done)}`);
        }
        wrong.push(...(await leftOf(place, choice)).map((path) => `${path} still holds the person`));
      }),
    [Symbol.asyncDispose]: () => place[Symbol.asyncDispose](),
  };
}

/** Files of the store, of the copies of this machine and of its scratch that hold the person. */
async function leftOf(place: Place, choice: StoreChoice): Promise<string[]> {
  const cache = `${place.folder}-cache`;
  const copies = existsSync(cache) ? await filesWithCanaries(cache) : [];
  if (choice.module === "fs") return [...(await filesWithCanaries(join(place.folder, "lake"))), ...copies];
  const mirror = `${place.folder}-mirror`;
  await using store = await openStore(choice);
  try {
    await mkdir(mirror, { recursive: true });
    for await (const { path } of store.list("")) {
      const file = join(mirror, path);
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, await store.read(path));
    }
    return [...(await filesWithCanaries(mirror)), ...copies];
  } finally {
    await rm(mirror, { recursive: true, force: true });
  }
}

async function build(
  place: Place,
  store: { store: string },
  open: () => Promise<Lake>,
): Promise<{ numbers: number[]; all: unknown[]; expected: unknown[] }> {
  const sections = { store };
  await (await lakeWithPerson(place, sections))[Symbol.asyncDispose]();
  await place.put("in/e.csv", [columns, person(5000)]);
  // It dies with everything staged, right before its commit.
  const dying = registryWithStore(
    (real) =>
      watched(real, (call, path) => {
        const commits = call === "write" && /people\/metadata\/v\d+\.metadata\.json$/.test(path);
        if (commits) throw new MillraceError("full", "the process is dead");
      }),
    store.store,
  );
  await using unlucky = await place.open({ people: flow }, { sections, registry: dying });
  const failed = await unlucky.run("people").then(
    () => false,
    () => true,
  );
  if (!failed) throw new Error("the run did not die");
  await using fresh = await open();
  const numbers = (await fresh.history("people")).map(({ number }) => number);
  return {
    numbers,
    all: await rowsByVersion(fresh, numbers),
    expected: await rowsByVersion(fresh, numbers, `WHERE NOT (${where})`),
  };
}
