import { createHmac } from "node:crypto";
import { rm } from "node:fs/promises";
import { isMillraceError, MillraceError, retry, type FetchResponse } from "../../core/index.ts";
import type { ComingAsset } from "../assets/read.ts";
import { searchInstances, instanceOf, type Searching } from "./chosen.ts";
import type { Group } from "./plan.ts";
import { ask, instancePath, instancesOf, retrieveOne, seriesPath, type Fetched, type Retrieving } from "./retrieve.ts";

export interface ScanReading {
  retrieving: Retrieving;
  searching: Searching;
  /** What to do about an instance that is listed and cannot be had. */
  unavailable: "fail" | "reject";
  /** With it nothing that is given tells a UID. */
  key: string | undefined;
}

/** How often a series is asked for as a whole. What is missing then is asked for one by one. */
const wholeTries = 3;

/** The instances of series as assets: each once, and each that was asked for, or the reason why it is not there. */
export async function* comingScans(
  reading: ScanReading,
  groups: readonly Group[],
): AsyncGenerator<ComingAsset, void, undefined> {
  for (const group of groups) {
    try {
      yield* comingSeries(reading, group);
    } catch (error) {
      throw isMillraceError(error) ? error.at({ file: `series ${group.series}` }) : error;
    }
  }
}

async function* comingSeries(reading: ScanReading, group: Group): AsyncGenerator<ComingAsset, void, undefined> {
  const { retrieving } = reading;
  const { study, series } = group;
  const missing = new Set(group.instances);
  const most = group.instances.length;
  for (let attempt = 1; group.whole && missing.size > 1 && attempt <= wholeTries; attempt++) {
    // The rest of a series is less than the series.
    if (attempt > 1 && missing.size <= most / 2) break;
    let response: FetchResponse;
    try {
      const { signal } = retrieving;
      response = await retry(() => ask(retrieving, seriesPath(study, series), most), signal ? { signal } : {});
    } catch (error) {
      // What the server does not give as a series it may give alone.
      if (isMillraceError(error) && isRefusal(error)) break;
      throw named(error, `the series ${series}`);
    }
    try {
      await using answer = response;
      for await (const fetched of instancesOf(retrieving, answer, most)) {
        if (fetched.uid !== undefined && missing.delete(fetched.uid)) {
          yield* asset(reading, group, fetched.uid, fetched);
        } else await rm(fetched.path, { force: true });
      }
      break;
    } catch (error) {
      // What was cut goes on with what is missing.
      if (!isMillraceError(error) || !error.temporary) throw named(error, `the series ${series}`);
    }
  }
  for (const uid of missing) {
    let fetched: Fetched;
    try {
      fetched = await retrieveOne(retrieving, instancePath(study, series, uid));
    } catch (error) {
      const problem = await problemOf(reading, group, uid, error);
      if (problem === undefined) {
        const hint = isMillraceError(error) && mayPass(error) ? passing : undefined;
        throw named(error, `instance ${uid} of the series ${series}`, hint);
      }
      yield { ...namesOf(reading, group, uid), size: 0, modified: 0, problem, hold: () => Promise.reject(error) };
      continue;
    }
    yield* asset(reading, group, uid, fetched);
  }
}

async function* asset(
  reading: ScanReading,
  group: Group,
  uid: string,
  { path, size, tooLarge }: Fetched,
): AsyncGenerator<ComingAsset, void, undefined> {
  const held = new Set<string>();
  const release = (): Promise<void> => rm(path, { force: true });
  const names = namesOf(reading, group, uid);
  const most = reading.retrieving.maximumBytes / 1024 ** 2;
  try {
    yield {
      ...names,
      size,
      modified: 0,
      identity: names.uri,
      ...(tooLarge ? { problem: `it is larger than the ${most} MiB of \`max_instance_mb\`` } : {}),
      hold: async () => {
        held.add(path);
        return { file: { path, name: names.name, size, modified: 0 }, release };
      },
    };
  } finally {
    if (!held.has(path)) await release();
  }
}

/** What an instance is called, where people read it. */
function namesOf({ retrieving, key }: ScanReading, group: Group, uid: string): { name: string; uri: string } {
  const { root } = retrieving.service;
  const path = instancePath(group.study, group.series, uid);
  if (key === undefined) return { name: path.slice(1), uri: root + path };
  const name = `instances/${createHmac("sha256", key).update(path).digest("hex").slice(0, 32)}`;
  return { name, uri: `${root}/${name}` };
}

const passing =
  "look at it on the server and run again, or set `unavailable: reject` to go on without it if the server is well otherwise";
/** The same request may be answered later, or others are. */
const mayPass = (error: MillraceError): boolean => error.temporary || isRefusal(error);
const isRefusal = (error: MillraceError): boolean => error.code === "not-found" || error.code === "unsupported";

/** Why the others go on without an instance; undefined: they do not. */
async function problemOf(
  { searching, unavailable, retrieving, key }: ScanReading,
  { study }: Group,
  uid: string,
  error: unknown,
): Promise<string | undefined> {
  if (!isMillraceError(error) || !mayPass(error)) return undefined;
  // The server must answer, and know nothing of it any more.
  const only = { ...searching, chosen: { studies: [], inside: [["SOPInstanceUID", uid] as [string, string]] } };
  let isListed = false;
  try {
    for await (const match of searchInstances(only, study, undefined, retrieving.signal)) {
      isListed ||= instanceOf(match) === uid;
    }
  } catch {
    return undefined;
  }
  if (!isListed) return "it was removed from the server after it was listed";
  if (unavailable !== "reject") return undefined;
  // What the error says has the UIDs.
  return `the server lists it, and does not give it: ${key === undefined ? error.message : error.code}`;
}

/** The same error, which says what it was of. */
function named(error: unknown, what: string, hint?: string): unknown {
  if (!isMillraceError(error)) return error;
  const { code, message, where, temporary, retryAfterMs, cause } = error;
  return new MillraceError(code, `${what}: ${message}`, {
    where,
    temporary,
    ...((hint ?? error.hint) === undefined ? {} : { hint: hint ?? error.hint! }),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    cause: cause ?? error,
  });
}
