import { createHash } from "node:crypto";
import { pipeline, Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { createGunzip } from "node:zlib";
import type { ExportTask } from "@aws-sdk/client-cloudwatch-logs";
import { identityOf, MillraceError, throwIfAborted, type SourceContext, type Store } from "../../core/index.ts";
import s3 from "../../stores/s3/index.ts";
import type { CloudwatchLogsOptions } from "./index.ts";
import { linesOf } from "./lines.ts";
import type { ExportedFile } from "./pieces.ts";
import type { LogEvent, Service, Slice } from "./service.ts";

const hourMs = 3_600_000;
const lookMs = 5_000;
const triesOfExport = 3;
const chunkBytes = 8 * 1024 ** 2;
const eventsAtOnce = 1_000;
/** How an exported event begins. Lines without it go on with the message before them. */
const beginning = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) /;

/** Until when a group is read from an export: a whole hour, so that a run that was ended finds the export of the last one. */
export function settledUntil(now: number, settledHours: number): number {
  return Math.floor((now - settledHours * hourMs) / hourMs) * hourMs;
}

/** The bucket of the exports. */
export async function openBucket(options: CloudwatchLogsOptions, context: SourceContext): Promise<Store> {
  const { bucket, prefix, endpoint = options.endpoint } = options.backfill!;
  const { region, credentials, role, ca } = options;
  const given = Object.entries({ bucket, prefix, region, endpoint, credentials, role, ca });
  const parsed = s3.options.parse(Object.fromEntries(given.filter(([, value]) => value !== undefined)));
  return (await s3.load()).open(parsed, { connection: context.connection, folder: context.folder });
}

/** Files with the events of a slice, exported now or by a run that was ended. Waits for as long as it takes, which may be hours. */
export async function exportOf(
  service: Service,
  bucket: Store,
  { group, from, to }: Slice,
  { backfill }: CloudwatchLogsOptions,
  signal: AbortSignal | undefined,
): Promise<ExportedFile[]> {
  const { bucket: destination, prefix } = backfill!;
  const hash = createHash("sha256")
    .update(JSON.stringify([group, from, to, destination, prefix]))
    .digest("hex");
  const base = `millrace-${hash.slice(0, 24)}`;
  let name: string;
  for (;;) {
    const { task, failed } = await found(service, base, signal);
    name = task?.taskName ?? `${base}-${failed}`;
    if (task?.status?.code === "COMPLETED") break;
    if (task === undefined) {
      if (failed >= triesOfExport) throw exportFailed(group);
      // A folder of its own: what failed may have left files.
      const destinationPrefix = `${prefix}/${name}`;
      const wanted = { taskName: name, logGroupName: group, from, to: to - 1, destination, destinationPrefix };
      if ((await service.beginExport(wanted, signal)) !== undefined) continue;
    }
    await sleep(lookMs, undefined, signal ? { signal } : {}).catch(() => undefined);
    throwIfAborted(signal);
  }
  const files: ExportedFile[] = [];
  for await (const entry of bucket.list(name)) {
    if (entry.path.endsWith(".gz")) {
      files.push({ group, path: entry.path, size: entry.size, identity: identityOf(entry) });
    }
  }
  return files.toSorted((left, right) => (left.path < right.path ? -1 : 1));
}

/** The task of this name that is under way or done, and how many have failed. */
async function found(
  service: Service,
  base: string,
  signal: AbortSignal | undefined,
): Promise<{ task?: ExportTask; failed: number }> {
  let failed = 0;
  for await (const task of service.exports(signal)) {
    if (task.taskName?.startsWith(`${base}-`) !== true) continue;
    if (!/FAILED|CANCEL/.test(task.status?.code ?? "")) return { task, failed };
    failed++;
  }
  return { failed };
}

const exportFailed = (group: string): MillraceError =>
  new MillraceError("unreachable", `exports of \`${group}\` do not succeed`, {
    where: { stream: group },
    hint: "the bucket needs a policy that lets logs.<region>.amazonaws.com write to it: `aws logs describe-export-tasks` says more; or leave `backfill` out",
  });

/** Events of an exported file. Throws `conflict` when it is not what it was. */
export async function* eventsIn(
  bucket: Store,
  { path, size, identity }: ExportedFile,
  signal: AbortSignal | undefined,
): AsyncGenerator<LogEvent[]> {
  await using file = await bucket.open(path);
  if (file.size !== size || identityOf(file) !== identity) {
    throw new MillraceError("conflict", `the exported file \`${path}\` has changed since the run was planned`, {
      where: { file: bucket.uri(path) },
      hint: "run again",
    });
  }
  async function* chunks(): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < size; at += chunkBytes) yield await file.read(at, Math.min(chunkBytes, size - at), signal);
  }
  const stream = path.split("/").at(-2) ?? "";
  let events: LogEvent[] = [];
  let last: LogEvent | undefined;
  const text = createGunzip();
  pipeline(Readable.from(chunks()), text, () => undefined);
  for await (const line of linesOf(text)) {
    const [, time] = beginning.exec(line) ?? [];
    if (time === undefined) {
      if (last !== undefined) last.message += `\n${line}`;
      continue;
    }
    if (last !== undefined) events.push(last);
    if (events.length >= eventsAtOnce) {
      yield events;
      events = [];
    }
    last = { stream, id: null, at: Date.parse(time), ingested: null, message: line.slice(time.length + 1) };
  }
  if (last !== undefined) events.push(last);
  if (events.length > 0) yield events;
}
