import { cpSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import type { Store } from "../../src/core/index.ts";
import { closeEngine } from "../dataset/helpers.ts";
import { openStore } from "../dataset/store-choice.ts";
import { type GatedRequest, isChange, type S3Gate, startS3Gate } from "../services/s3-gate.ts";
import { startVersitygw } from "../services/versitygw.ts";
import { type Ended, start } from "./child.ts";
import { eraseSite, type EraseSite } from "./erase-site.ts";
import { testWith } from "./needs.ts";
import { seeded } from "./random.ts";
import { durableCalls, inScratch, pointsOf, runWithFault, sample } from "./sweep.ts";
import { recordFault, soak } from "./trust.ts";

const traced = await testWith("strace", "ptrace");
const random = seeded("kills-erase");

afterAll(closeEngine);

traced(
  "an erasure that is killed at any durable call is completed by the same command, and shows nothing half done in between",
  { timeout: 900_000 },
  () =>
    inScratch(async (folder) => {
      const [root, kept] = [join(folder, "place"), join(folder, "kept")];
      await using site = await eraseSite(root, { module: "fs", options: { path: join(root, "lake") } });
      renameSync(root, kept);
      const restore = (): void => {
        rmSync(root, { recursive: true, force: true });
        cpSync(kept, root, { recursive: true });
      };
      // What is written without being made durable is a call before one of these.
      const kinds = durableCalls.filter(({ name }) => name !== "write");
      const all = await pointsOf(site.command(), kinds, restore);
      const points = soak ? all : sample(all, 0, random, 1);
      const violations: string[] = [];
      let fired = 0;
      for (const point of points) {
        restore();
        const ended = await runWithFault(site.command(), point);
        if (ended.killed) fired++;
        else expect(ended.code, ended.errors).toBe(0);
        violations.push(...(await violationsAfter(site, `${point.kind.name} ${point.number}`, ended)));
      }
      record("erase on a disk", "SIGKILL at a durable call", fired, violations);
      expect(violations).toEqual([]);
      expect(fired).toBeGreaterThanOrEqual(Math.floor(points.length * 0.7));
    }),
);

test(
  "so it is on Versity S3 Gateway, killed before or after any of its requests that change something",
  { timeout: 900_000 },
  () =>
    inScratch(async (folder) => {
      await using server = await startVersitygw();
      await using gate = await startS3Gate(server.endpoint);
      const options = { ...(await server.bucket("lake")), prefix: "erasing" };
      const root = join(folder, "place");
      await using site = await eraseSite(root, { module: "s3", options }, gate.endpoint);
      await using store = await openStore({ module: "s3", options });
      const restore = await keep(store, `${root}-cache`);
      const clean = await start(site.command()).ended;
      expect(clean.code, clean.errors).toBe(0);
      const changes = gate.seen.filter(isChange).map((request, index) => ({ at: index + 1, kind: kindOf(request) }));
      const kinds = [...new Set(changes.map(({ kind }) => kind))];
      expect(kinds).toEqual(
        expect.arrayContaining(["PUT metadata", "PUT data", "DELETE data", "DELETE runs", "PUT runs"]),
      );
      // Of each kind one, which takes effect, or does not; a copy on this machine must not outlive what was removed.
      const points = soak
        ? changes.flatMap(({ at }) => [true, false].map((effect) => ({ at, effect })))
        : kinds.flatMap((kind) => {
            const { at } = random.pick(changes.filter((change) => change.kind === kind));
            return [{ at, effect: kind === "DELETE data" || random.between(0, 1) === 1 }];
          });
      const violations: string[] = [];
      for (const { at, effect } of points) {
        await restore();
        const ended = await runKilledAt(gate, site, at, effect);
        expect(ended.killed, `${at} of ${changes.length}: ${ended.errors}`).toBe(true);
        const where = `killed ${effect ? "after" : "before"} change ${at} of ${changes.length} (${changes[at - 1]!.kind})`;
        violations.push(...(await violationsAfter(site, where, ended)));
      }
      record(
        "erase on a bucket (Versity S3 Gateway)",
        "SIGKILL at a request that changes something",
        points.length,
        violations,
      );
      expect(violations).toEqual([]);
    }),
);

/** `DELETE data`: the method, and the kind of object. */
function kindOf({ method, key }: GatedRequest): string {
  return `${method} ${/\/(runs|data|metadata|assets)\//.exec(key)?.[1] ?? "other"}`;
}

function record(component: string, fault: string, fired: number, violations: readonly string[]): void {
  recordFault({ area: "Crashes", component, fault, fired, violations: violations.length });
}

async function violationsAfter(site: EraseSite, where: string, ended: Ended): Promise<string[]> {
  const wrong = [...(await site.afterKill()), ...(await site.afterRepeat())];
  // A report that was given is a promise.
  if (ended.killed && ended.lines.length > 0) wrong.push(`it had reported: ${ended.lines.join(" ").slice(0, 200)}`);
  return wrong.map((text) => `${where}: ${text}`);
}

/** Runs the command and ends it with SIGKILL when its change number `at` arrives, which takes effect or does not. */
async function runKilledAt(gate: S3Gate, site: EraseSite, at: number, effect: boolean): Promise<Ended> {
  const child = start(site.command());
  let seen = 0;
  gate.before = async (request) => {
    if (!isChange(request) || ++seen !== at) return undefined;
    child.process.kill("SIGKILL");
    await child.ended;
    return effect ? undefined : "drop";
  };
  try {
    return await child.ended;
  } finally {
    gate.before = () => undefined;
  }
}

/** Remembers every object of the store and the copies on this machine; what it returns brings all of it back. */
async function keep(store: Store, cache: string): Promise<() => Promise<void>> {
  const objects = new Map<string, { bytes: Uint8Array; etag: string | undefined }>();
  for await (const { path, etag } of store.list("")) objects.set(path, { bytes: await store.read(path), etag });
  cpSync(cache, `${cache}-kept`, { recursive: true });
  return async () => {
    const there = new Map((await Array.fromAsync(store.list(""))).map(({ path, etag }) => [path, etag]));
    for (const path of there.keys()) if (!objects.has(path)) await store.remove(path);
    for (const [path, { bytes, etag }] of objects) if (there.get(path) !== etag) await store.write(path, bytes);
    rmSync(cache, { recursive: true, force: true });
    cpSync(`${cache}-kept`, cache, { recursive: true });
  };
}
