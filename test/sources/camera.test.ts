import { spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openLake, type Lake } from "../../src/index.ts";
import { millraceArguments } from "../cli/millrace.ts";
import { requireFfmpeg, type Ffmpeg } from "../services/ffmpeg.ts";
import { requireRtspServer, type RtspServer } from "../services/rtsp.ts";

type Row = Record<string, unknown>;

let server: RtspServer;
let ffmpeg: Ffmpeg;
let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-camera-"));
  ffmpeg = await requireFfmpeg();
  server = await requireRtspServer();
}, 300_000);
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

let count = 0;
async function placeOf(camera: Row): Promise<string> {
  const place = await mkdtemp(join(folder, `place-${count++}-`));
  const gate = {
    source: "camera",
    url: server.url,
    segment_s: 1,
    stall_s: 1,
    options: { every_s: 1, size: 64 },
    ...camera,
  };
  const flows = { cctv: { from: { connection: "gate", stream: "live" } } };
  await writeFile(join(place, "millrace.yaml"), JSON.stringify({ store: "./lake", connections: { gate }, flows }));
  return place;
}
const recordings = async (place: string): Promise<string[]> =>
  (await readdir(join(place, "captures/gate"))).filter((name) => name.endsWith(".mkv")).toSorted();
const rowsOf = async (lake: Lake): Promise<Row[]> =>
  (
    await lake.query(
      "select uri, frame, time_s, duration_s, codec, width, problem, image is null as blind, epoch_ms(recorded_at)::double as began from cctv order by uri, frame",
    )
  ).rows as Row[];
const until = async (holds: () => Promise<boolean>): Promise<void> => {
  for (let tries = 0; !(await holds()); tries++) {
    if (tries > 600) throw new Error("it did not happen within a minute");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
};

test(
  "a run records segments and reads frames of them; the next one goes on, and takes away what a version has",
  { timeout: 60_000 },
  async () => {
    const place = await placeOf({ duration_s: 2 });
    await using lake = await openLake({ folder: place });
    const before = Date.now();
    const first = await lake.run("cctv");
    const kept = await recordings(place);
    expect(kept.length).toBeGreaterThanOrEqual(1);
    let sum = 0;
    for (const name of kept) {
      const { format } = (await ffmpeg.probe(join(place, "captures/gate", name), "-show_format")) as {
        format: { duration: string };
      };
      sum += Number(format.duration);
    }
    expect(sum).toBeGreaterThan(1);
    expect(sum).toBeLessThan(5);
    const rows = await rowsOf(lake);
    expect(rows).toHaveLength(first.written);
    expect(new Set(rows.map(({ uri }) => uri))).toEqual(new Set(kept.map((name) => `gate/${name}`)));
    for (const row of rows) {
      expect(row).toMatchObject({ codec: "h264", width: 320, problem: null, blind: false });
      expect(row["began"]).toBeGreaterThanOrEqual(before - 1000);
      expect(row["began"]).toBeLessThan(Date.now());
    }

    await lake.run("cctv");
    const all = await rowsOf(lake);
    expect(all.length).toBeGreaterThan(rows.length);
    expect(new Set(all.map(({ uri, frame }) => `${String(uri)} ${String(frame)}`)).size).toBe(all.length);
    const now = await recordings(place);
    expect(now.filter((name) => kept.includes(name))).toEqual([]);
    // The recordings themselves are in the dataset.
    const [bytes] = (
      await lake.query("select count(bytes) + count(object) as n, count(distinct uri) as files from cctv")
    ).rows as Row[];
    expect(bytes!["n"]).toEqual(bytes!["files"]);
  },
);

test("a camera that is away for a while is connected to again", { timeout: 60_000 }, async () => {
  const place = await placeOf({ duration_s: 5 });
  await using lake = await openLake({ folder: place });
  const running = lake.run("cctv");
  running.catch(() => undefined);
  await until(async () => (await recordings(place).catch(() => [])).length > 0);
  await server.kill();
  const gone = Date.now();
  await server.start();
  await running;
  const rows = await rowsOf(lake);
  const begins = rows.map(({ began }) => Number(began));
  expect(Math.min(...begins)).toBeLessThan(gone);
  expect(Math.max(...begins)).toBeGreaterThan(gone);
  expect(rows.every(({ problem }) => problem === null)).toBe(true);
});

test("what was recorded by a process that was killed is in the next version", { timeout: 60_000 }, async () => {
  const place = await placeOf({ duration_s: 600, segment_s: 2 });
  const child = spawn(process.execPath, millraceArguments(["run", "cctv"]), { cwd: place, stdio: "ignore" });
  await until(async () => (await recordings(place).catch(() => [])).length >= 2);
  // Something is in the file that is open, so that there is something to lose.
  const open = join(place, "captures/gate/open");
  await until(async () => {
    const sizes = (await readdir(open)).map(
      async (name) => (await stat(join(open, name)).catch(() => ({ size: 0 }))).size,
    );
    return Math.max(0, ...(await Promise.all(sizes))) > 4_000;
  });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await ended;
  const kept = await recordings(place);
  const text = await readFile(join(place, "millrace.yaml"), "utf8");
  await writeFile(join(place, "millrace.yaml"), text.replace('"duration_s":600', '"duration_s":1'));
  await using lake = await openLake({ folder: place });
  await lake.run("cctv");
  const uris = new Set((await rowsOf(lake)).map(({ uri }) => uri));
  for (const name of kept) expect(uris).toContain(`gate/${name}`);
  // Nobody records any longer: the program that did has ended with its reader.
  await until(async () => {
    const commands = await Promise.all(
      (await readdir("/proc"))
        .filter((pid) => /^\d+$/.test(pid))
        .map((pid) => readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")),
    );
    return !commands.some((command) => command.includes("ffmpeg") && command.includes(place));
  });
  // What it left open was read as well, as far as it goes.
  const cut = (await rowsOf(lake)).filter(({ uri }) => String(uri).endsWith("rtsp-cut.mkv"));
  expect(cut.length).toBeGreaterThan(0);
});

test(
  "a run that is stopped keeps what it recorded, and a wrong password is said without it",
  { timeout: 60_000 },
  async () => {
    const place = await placeOf({ duration_s: 600 });
    await using lake = await openLake({ folder: place });
    const stop = new AbortController();
    const running = lake.run("cctv", { signal: stop.signal });
    running.catch(() => undefined);
    await until(async () => (await recordings(place).catch(() => [])).length > 0);
    stop.abort();
    await expect(running).rejects.toMatchObject({ code: "aborted" });
    expect((await recordings(place)).length).toBeGreaterThan(0);

    const wrong = await placeOf({ duration_s: 5, url: server.url.replace(server.password, "wr0ng-password") });
    await using other = await openLake({ folder: wrong });
    for (const action of [() => other.run("cctv"), () => other.check("gate")]) {
      const error = (await action().catch((reason: unknown) => reason)) as Error;
      expect(error).toMatchObject({ code: "permission" });
      expect(JSON.stringify([error, error.message])).not.toContain("wr0ng");
    }
    await lake.check("gate");
    // To check a flow records nothing.
    const untouched = await placeOf({ duration_s: 600 });
    await using third = await openLake({ folder: untouched });
    await third.checkFlow("cctv");
    expect(await readdir(untouched)).not.toContain("captures");
  },
);

test(
  "recording stops where the folder is full; what is there is read, and then there is room again",
  { timeout: 60_000 },
  async () => {
    const place = await placeOf({ duration_s: 600, spool_max_bytes: 1 });
    await using lake = await openLake({ folder: place });
    for (let run = 1; run <= 2; run++) {
      await lake.run("cctv");
      expect(new Set((await rowsOf(lake)).map(({ uri }) => uri)).size).toBeGreaterThanOrEqual(run);
      expect((await recordings(place)).length).toBeLessThanOrEqual(2);
    }
  },
);
