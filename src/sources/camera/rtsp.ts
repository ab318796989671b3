import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { basename, dirname, join } from "node:path";
import { MillraceError, throwIfAborted } from "../../core/index.ts";
import { findPrograms } from "../../sandbox/index.ts";
import type { Capture } from "./capture.ts";

/** What a camera may make ffmpeg open. */
const protocols = "rtsp,rtsps,rtp,srtp,udp,tcp,tls,crypto";

/** What one connection gave. */
interface Session {
  segments: number;
  /** Why it ended, as ffmpeg said it. */
  words: string;
}

/** Records RTSP until the time is up: a connection that breaks or stalls is made again. Throws `unreachable` when nothing came at all. */
export async function recordRtsp(capture: Capture): Promise<void> {
  const { ffmpeg } = findPrograms(["ffmpeg"]) as { ffmpeg: string };
  let segments = 0;
  let words = "";
  for (let attempt = 0; capture.leftMs() > 0; attempt++) {
    const session = await connect(ffmpeg, capture);
    segments += session.segments;
    if (session.segments > 0) attempt = 0;
    else if (segments === 0 && isFinal(session.words)) throw refused(session.words, capture);
    words = session.words;
    if (!(await capture.spool.hasRoom())) return;
    await capture.pause(Math.min(500 * 2 ** attempt, 30_000));
  }
  if (segments === 0 && !capture.isStopped()) throw refused(words, capture);
}

const isFinal = (words: string): boolean =>
  /401 Unauthorized|403 Forbidden|404 Not Found|Invalid data found/i.test(words);

function refused(words: string, { shown, secretsOut }: Capture): MillraceError {
  const line = words.split("\n").find((each) => each.trim() !== "") ?? "it gave no picture";
  const said = secretsOut(line.replaceAll(/\[[^\]]* @ 0x[0-9a-f]+\] ?/g, "").trim()).slice(0, 300);
  const isLogin = /401|403/.test(words);
  return new MillraceError(
    isLogin ? "permission" : "unreachable",
    `the camera \`${shown}\` cannot be recorded: ${said}`,
    {
      hint: isLogin
        ? "put user and password into `url`, or into the variable that it comes from"
        : "open the address with `ffplay`; `transport: udp` helps with some cameras",
      ...(isLogin ? {} : { temporary: true }),
    },
  );
}

/** Runs ffmpeg, which copies packets as they come into files that begin with a key frame. */
async function connect(ffmpeg: string, capture: Capture): Promise<Session> {
  const { options, url, spool } = capture;
  const first = await spool.begin("mkv");
  // ffmpeg numbers the files of a session.
  const pattern = `${first.slice(0, -".mkv".length)}-%d.mkv`;
  const seconds = Math.max(1, Math.ceil(capture.leftMs() / 1000));
  const stallMicroseconds = String(Math.round(options.stall_s * 1_000_000));
  const [program, ...before] = endingWithUs(ffmpeg);
  const child = spawn(
    program,
    [
      before,
      ["-nostdin", "-hide_banner", "-nostats", "-v", "error"],
      ["-protocol_whitelist", protocols],
      ["-rtsp_transport", options.transport, "-timeout", stallMicroseconds, "-i", url],
      ["-t", String(seconds), "-map", "0:v:0", ...(options.sound ? ["-map", "0:a:0?"] : []), "-c", "copy"],
      ["-f", "segment", "-segment_time", String(options.segment_s), "-reset_timestamps", "1"],
      // What came a second ago is in the file, should anything die.
      ["-segment_format", "matroska", "-segment_format_options", "flush_packets=1:cluster_time_limit=1000"],
      // A line for each file that is whole.
      ["-segment_list", "pipe:1", "-segment_list_type", "csv", pattern],
    ].flat(),
    { stdio: ["ignore", "pipe", "pipe"], env: {} },
  );
  let words = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (words = (words + text).slice(-16_384)));
  const closed = new Promise<void>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", () => resolve());
  });
  closed.catch(() => undefined);
  // It writes the end of its file first.
  const stop = capture.onStop(() => child.kill("SIGINT"));
  const began = Date.now();
  let base: number | undefined;
  let segments = 0;
  try {
    for await (const line of createInterface({ input: child.stdout })) {
      const [, file = "", start = "0", end = "0"] = /^(.*),([\d.]+),([\d.]+)$/.exec(line) ?? [];
      // The first one ended now, so that the stream began as long ago as it lasts.
      base ??= Math.max(began, Date.now() - Number(end) * 1000);
      const path = join(dirname(first), basename(file));
      if ((await spool.finish(path, base + Number(start) * 1000, "rtsp")) !== undefined) segments++;
      if (!(await spool.hasRoom())) child.kill("SIGINT");
    }
    await closed;
  } catch (cause) {
    child.kill("SIGKILL");
    throw cause;
  } finally {
    stop();
  }
  return { segments, words };
}

/** The program as one that the kernel tells to end, as we would, when this process dies; where it cannot, it ends when the time is up. */
function endingWithUs(program: string): [string, ...string[]] {
  const setpriv = "/usr/bin/setpriv";
  return existsSync(setpriv) ? [setpriv, "--pdeathsig", "INT", "--", program] : [program];
}

/** Connects and asks what there is. Throws `permission` and `unreachable`. */
export async function probeRtsp(capture: Capture): Promise<void> {
  const { ffprobe } = findPrograms(["ffprobe"]) as { ffprobe: string };
  const { options, url } = capture;
  const stallMicroseconds = String(Math.round(options.stall_s * 1_000_000));
  const child = spawn(
    ffprobe,
    [
      ["-v", "error", "-protocol_whitelist", protocols, "-rtsp_transport", options.transport],
      ["-timeout", stallMicroseconds, "-show_entries", "stream=codec_type", "-of", "csv=p=0", url],
    ].flat(),
    { stdio: ["ignore", "pipe", "pipe"], env: {} },
  );
  const stop = capture.onStop(() => child.kill("SIGKILL"));
  let [found, words] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => (found = (found + text).slice(0, 16_384)));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (words = (words + text).slice(-16_384)));
  await new Promise<void>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", () => resolve());
  }).finally(stop);
  throwIfAborted(capture.signal);
  if (!found.includes("video")) throw refused(words, capture);
}
