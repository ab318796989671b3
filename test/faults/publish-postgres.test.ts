import { execFileSync } from "node:child_process";
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { isMillraceError, messageOf } from "../../src/core/index.ts";
import type { Lake } from "../../src/pipeline/index.ts";
import { freeze, type Frozen } from "../services/freeze.ts";
import { type Postgres, startPostgres } from "../services/postgres.ts";
import { loadLake } from "../support/lake.ts";
import { start } from "./child.ts";
import { type MutantName, mutants } from "./mutants.ts";
import { testWith } from "./needs.ts";
import { offerFile, oracleLake, type OracleLake } from "./oracle-lake.ts";
import { type Proxy, startProxy, type Trouble } from "./proxy.ts";
import { seeded } from "./random.ts";
import { recordFault, recordMutant, soak } from "./trust.ts";

const random = seeded("publish-postgres");
const component = "publish of a version to PostgreSQL";
const onSmallDisk = await testWith("tmpfs");

let server: Postgres;
let proxy: Proxy;
let oracle: OracleLake;
let lake: Lake;
/** Rows of the versions 1 and 2, in order. */
const versions: string[] = [];
/** Bytes from the client and from the server in a publish that nothing happens to. */
const whole = { sent: 0, passed: 0 };
let targets = 0;
const folder = mkdtempSync(join(tmpdir(), "millrace-publish-"));
// The server, somebody else, has a table space in it.
chmodSync(folder, 0o755);

beforeAll(async () => {
  server = await startPostgres();
  await server.query(`GRANT CREATE ON SCHEMA public TO ${server.user}`);
  proxy = await startProxy(server.port);
  const { user, password, database } = server;
  const connection = {
    sink: "postgres",
    host: "127.0.0.1",
    port: proxy.port,
    user,
    password,
    database,
    ssl: "disable",
  };
  const connections = {
    patient: connection,
    hasty: { ...connection, connectTimeoutMs: 250, readTimeoutMs: 250 },
  };
  mkdirSync(join(folder, "in"));
  oracle = oracleLake(folder, "merge", { path: "in/*.csv" }, { connections });
  offerFile(oracle, 0, 800);
  await oracle.run();
  offerFile(oracle, 1, 800, [1, 2, 3, 500]);
  await oracle.run();
  lake = await loadLake(folder);
  for (const version of [1, 2]) {
    const { rows } = await lake.query(`SELECT id::INT AS id, revision::INT AS r, payload FROM "events@${version}"`, {
      maximumRows: 10_000,
    });
    versions.push(fingerprint(rows.map((row) => [row["id"], row["r"], row["payload"]].join("|"))));
  }
  expect(versions[0]).not.toBe(versions[1]);
  const { target } = await begun();
  proxy.set(undefined);
  await publish(target);
  Object.assign(whole, { sent: proxy.sent(), passed: proxy.passed() });
  expect(await copyOf(target)).toBe(versions[1]);
}, 120_000);
afterAll(async () => {
  await lake[Symbol.asyncDispose]();
  await proxy[Symbol.asyncDispose]();
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
});

const fingerprint = (rows: readonly string[]): string => rows.toSorted().join("\n");

/** A target that holds version 1. */
async function begun(): Promise<{ target: string }> {
  proxy.set(undefined);
  const target = `copy_${targets++}`;
  await lake.publish("events@1", { to: "patient", key: ["id"], target });
  expect(await copyOf(target)).toBe(versions[0]);
  return { target };
}

const publish = (target: string, to = "patient"): Promise<unknown> =>
  lake.publish("events@2", { to, key: ["id"], target });

async function copyOf(target: string): Promise<string> {
  const rows = await server.query(`SELECT id, revision, payload FROM ${target}`);
  return fingerprint(rows.map((row) => `${row["id"]}|${row["revision"]}|${row["payload"]}`));
}

/** What is wrong after a publish over version 1 that ended with `error`, and with the one after it. */
async function judge(target: string, error: unknown): Promise<string[]> {
  const violations: string[] = [];
  const now = await copyOf(target);
  if (!versions.includes(now)) violations.push(`neither version, but ${now.split("\n").length} rows`);
  if (error === undefined) {
    if (now !== versions[1]) violations.push("acknowledged, and the version before is there");
  } else if (!isMillraceError(error)) violations.push(`no clear error: ${messageOf(error)}`);
  else {
    const known = ["unreachable", "timeout", "unknown-outcome", "full", "conflict"].includes(error.code);
    if (!known || !error.temporary) violations.push(`no clear error: ${error.code}: ${error.message}`);
    if (error.code !== "unknown-outcome" && now !== versions[0]) violations.push(`${error.code}, and yet it is there`);
  }
  proxy.set(undefined);
  await publish(target);
  if ((await copyOf(target)) !== versions[1]) violations.push("the next publish does not bring it");
  const left = await server.query(
    "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^millrace_[0-9a-f]'",
  );
  if (left.length > 0) violations.push(`left behind: ${left.map(({ relname }) => relname).join(", ")}`);
  return violations;
}

const outcomeOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => undefined,
    (error: unknown) => error,
  );

async function meet(trouble: Trouble, to = "patient"): Promise<{ fired: boolean; violations: string[] }> {
  const { target } = await begun();
  proxy.set(trouble);
  const error = await outcomeOf(publish(target, to));
  const fired = proxy.fired() > 0;
  const violations = await judge(target, error);
  const what = JSON.stringify(trouble, (_, value: unknown) => (typeof value === "function" ? "…" : value));
  return { fired, violations: violations.map((text) => `${what}: ${text}`) };
}

const sentBytes = (): number => random.between(1, whole.sent - 1);
const passedBytes = (): number => random.between(1, whole.passed - 1);
const troubles: [what: string, times: number, least: number, make: (index: number) => Trouble][] = [
  ["the commit is lost on its way", 2, 2, () => ({ loseRequest: { text: "COMMIT", instead: "request" } })],
  ["the answer to the commit is lost", 2, 2, () => ({ loseRequest: { text: "COMMIT", instead: "answer" } })],
  ["answer dropped after a request", soak ? 20 : 2, 1, () => ({ dropAnswerAfter: sentBytes() })],
  ["cut after N bytes", soak ? 20 : 2, 1, () => ({ cutAfter: passedBytes() })],
  ["reset after N bytes", soak ? 20 : 2, 1, () => ({ cutAfter: passedBytes(), by: "reset" })],
  ["cut once after N bytes", soak ? 10 : 2, 1, () => ({ cutAfter: passedBytes(), once: true })],
];
test.each(troubles)(
  "%s: the copy before or the copy after, and the next publish brings it",
  { timeout: 300_000 },
  async (fault, times, least, make) => {
    const outcomes = [];
    for (let index = 0; index < times; index++) outcomes.push(await meet(make(index)));
    const violations = outcomes.flatMap((one) => one.violations);
    const fired = outcomes.filter((one) => one.fired).length;
    recordFault({ area: "Network", component, fault, fired, violations: violations.length });
    expect(violations).toEqual([]);
    expect(fired).toBeGreaterThanOrEqual(least);
  },
);

test("a server that is restarted or killed as it is given the rows, or the commit", { timeout: 300_000 }, async () => {
  const violations: string[] = [];
  let fired = 0;
  const blows: [string, string, () => Promise<void>][] = [
    ["restart", "COPY ", () => server.restart()],
    ["kill -9", "COMMIT", () => server.kill().then(() => server.start())],
    ["restart", "COMMIT", () => server.restart()],
    ["kill -9", "COPY ", () => server.kill().then(() => server.start())],
  ];
  for (const [what, text, blow] of soak ? [...blows, ...blows, ...blows] : blows) {
    const { target } = await begun();
    let done: Promise<void> | undefined;
    proxy.set({ atRequest: { text, number: 1, call: () => void (done = blow()) } });
    const error = await outcomeOf(publish(target));
    if (done !== undefined) fired++;
    await done;
    violations.push(...(await judge(target, error)).map((violation) => `${what} at ${text}: ${violation}`));
  }
  const fault = "immediate restart or SIGKILL of the server, at the rows or at the commit";
  recordFault({ area: "Kills of whole runs", component, fault, fired, violations: violations.length });
  expect(violations).toEqual([]);
  expect(fired).toBeGreaterThanOrEqual(blows.length);
});

/** Freezes the server before it is given the first request with this text. */
const freezeAt = (text: string): Promise<Frozen> =>
  new Promise((resolve) => {
    proxy.set({ atRequest: { text, number: 1, call: () => resolve(freeze(server.processes())) } });
  });

test.each(["COPY ", "COMMIT"])(
  "a server that stands still at `%s`: a clear error in time",
  { timeout: 60_000 },
  async (text) => {
    const { target } = await begun();
    const running = outcomeOf(publish(target, "hasty"));
    const frozen = await freezeAt(text);
    let error: unknown;
    try {
      await frozen.stopped;
      error = await running;
      expect(frozen.states().every((state) => state === "T")).toBe(true);
    } finally {
      frozen.thaw();
    }
    // What it was given before it stood still, it carries out now.
    await until(async () => {
      const [row] = await server.query(
        "SELECT count(*) AS n FROM pg_stat_activity WHERE application_name = 'millrace'",
      );
      return row!["n"] === "0";
    });
    const violations = await judge(target, error);
    if (error === undefined) violations.push("acknowledged by a server that stood still");
    const fault = `SIGSTOP of the server at ${text === "COMMIT" ? "the commit" : "the rows"}`;
    recordFault({ area: "Frozen peers", component, fault, fired: 1, violations: violations.length });
    expect(violations).toEqual([]);
  },
);

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await sleep(20);
}

onSmallDisk(
  "a server whose disk is full: the copy before stays, and with space it comes",
  { timeout: 60_000 },
  async () => {
    const { target } = await begun();
    const disk = join(folder, "disk");
    mkdirSync(disk);
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=128k", "tmpfs", disk]);
    try {
      const owner = statSync(server.socketFolder);
      const space = join(disk, "space");
      mkdirSync(space);
      for (const path of [disk, space]) chownSync(path, owner.uid, owner.gid);
      await server.query(`CREATE TABLESPACE small LOCATION '${space}'`);
      await server.query(`GRANT CREATE ON TABLESPACE small TO ${server.user}`);
      await server.query(`ALTER ROLE ${server.user} SET default_tablespace = 'small'`);
      const error = await outcomeOf(publish(target));
      await server.query(`ALTER ROLE ${server.user} RESET default_tablespace`);
      const violations = await judge(target, error);
      const fired = isMillraceError(error) && error.code === "full" ? 1 : 0;
      const fault = "a table space without further bytes";
      recordFault({ area: "Disk full", component, fault, fired, violations: violations.length });
      expect(violations).toEqual([]);
      expect(fired, messageOf(error)).toBe(1);
      await server.query("DROP TABLESPACE small");
    } finally {
      execFileSync("umount", ["-l", disk]);
    }
  },
);

const command = (target: string, mutant: MutantName, to = "patient"): ReturnType<typeof start> =>
  start({
    program: "millrace.ts",
    args: ["publish", "events@2", "--to", to, "--key", "id", "--target", target, "--json"],
    cwd: folder,
    mutant,
  });

test("a build that takes a commit without an answer for done is noticed", { timeout: 60_000 }, async () => {
  const mutant = "commit-taken-for-done";
  const { target } = await begun();
  proxy.set({ loseRequest: { text: "COMMIT", instead: "request" } });
  const ended = await command(target, mutant).ended;
  expect(proxy.fired()).toBe(1);
  const caught = ended.code === 0 && (await copyOf(target)) === versions[0];
  recordMutant({ mutant, without: mutants[mutant].without, by: "the commit is lost on its way", caught });
  expect(caught, ended.errors).toBe(true);
});

test("a build that waits for a server for ever is noticed", { timeout: 60_000 }, async () => {
  const mutant = "silence-of-sink";
  const { target } = await begun();
  const child = command(target, mutant, "hasty");
  const frozen = await Promise.race([
    freezeAt("COPY "),
    child.ended.then((ended) => Promise.reject(new Error(ended.errors))),
  ]);
  await frozen.stopped;
  // A build that notices has given up by then: four tries of less than a second.
  await Promise.race([sleep(4_500), child.ended]);
  frozen.thaw();
  const ended = await child.ended;
  const caught = ended.code === 0;
  recordMutant({ mutant, without: mutants[mutant].without, by: "SIGSTOP of the server at the rows", caught });
  expect(caught, ended.errors).toBe(true);
});
