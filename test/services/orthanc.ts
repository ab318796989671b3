import { type ChildProcess, execFile, spawn } from "node:child_process";
import { existsSync, rmSync } from "node:fs";
import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { MillraceError } from "../../src/core/index.ts";
import { freePort, requirePackages, requireProgram } from "./install.ts";

const execute = promisify(execFile);

/** An imaging archive of our own, empty at first: Orthanc with its plugin for DICOMweb on a free port of 127.0.0.1. */
export interface Orthanc extends AsyncDisposable {
  port: number;
  user: string;
  password: string;
  /** Root of the service of DICOMweb. */
  url: string;
  /** Stores files as they are; of equal UIDs the last one counts. Gives how many the server took. */
  store(files: readonly Uint8Array[]): Promise<number>;
  /** A request of Orthanc's own interface or of DICOMweb, by its path. */
  call(path: string, init?: { method: string; body?: string | Uint8Array<ArrayBuffer> }): Promise<Response>;
  /** Removes an instance by its SOP instance UID. */
  remove(uid: string): Promise<void>;
  /** SIGKILL, as a power cut would. */
  kill(): Promise<void>;
  /** Starts again on the same data and port. */
  start(): Promise<void>;
}

const program = { service: "Orthanc", name: "Orthanc", packages: ["orthanc", "orthanc-dicomweb"] };
const plugin = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so";

/** Throws `unreachable` when the server can neither be found nor installed. */
export async function startOrthanc(): Promise<Orthanc> {
  if (!existsSync(plugin)) await requirePackages(program.service, program.packages);
  const daemon = await requireProgram(program);
  const folder = await mkdtemp(join(tmpdir(), "millrace-orthanc-"));
  const port = await freePort();
  const [user, password] = ["reader", "m1ll-race-secret"];
  const configuration = join(folder, "orthanc.json");
  const log = join(folder, "log");
  await writeFile(
    configuration,
    JSON.stringify({
      StorageDirectory: join(folder, "data"),
      IndexDirectory: join(folder, "data"),
      HttpPort: port,
      // What it answers in; in Latin-1, which it prefers, all else would be lost.
      DefaultEncoding: "Utf8",
      DicomServerEnabled: false,
      RemoteAccessAllowed: false,
      AuthenticationEnabled: true,
      RegisteredUsers: { [user]: password },
      OverwriteInstances: true,
      HttpThreadsCount: 16,
      Plugins: [plugin],
      DicomWeb: { Enable: true, Root: "/dicom-web/", EnableWado: false },
    }),
  );
  const authorization = `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
  let child: ChildProcess | undefined;

  const call: Orthanc["call"] = (path, init) =>
    fetch(`http://127.0.0.1:${port}${path}`, { ...init, headers: { authorization } });

  const start = async (): Promise<void> => {
    const started = spawn(daemon, [`--logfile=${log}`, configuration], { stdio: "ignore" });
    child = started;
    for (let attempt = 0; ; attempt++) {
      try {
        const answer = await call("/system");
        await answer.arrayBuffer();
        if (answer.ok) return;
      } catch (cause) {
        if (started.exitCode !== null || attempt > 600) {
          const text = await readFile(log, "utf8").catch(() => "");
          throw new MillraceError("unreachable", `Orthanc does not start: ${text.slice(-2000)}`, { cause });
        }
      }
      await sleep(50);
    }
  };
  const kill = async (): Promise<void> => {
    const running = child;
    child = undefined;
    if (running === undefined || running.exitCode !== null || running.signalCode !== null) return;
    const exited = new Promise((resolve) => running.once("exit", resolve));
    running.kill("SIGKILL");
    await exited;
  };
  const emergency = (): void => void child?.kill("SIGKILL");
  process.once("exit", emergency);
  const stop = async (): Promise<void> => {
    await kill();
    process.off("exit", emergency);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await start();
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    port,
    user,
    password,
    url: `http://127.0.0.1:${port}/dicom-web`,
    call,
    async store(files) {
      let taken = 0;
      let next = 0;
      const worker = async (): Promise<void> => {
        for (let file = files[next++]; file !== undefined; file = files[next++]) {
          const answer = await call("/instances", { method: "POST", body: Buffer.from(file) });
          await answer.arrayBuffer();
          if (answer.ok) taken++;
        }
      };
      await Promise.all(Array.from({ length: 4 }, worker));
      return taken;
    },
    async remove(uid) {
      const found = await call("/tools/lookup", { method: "POST", body: uid });
      for (const { Path } of (await found.json()) as { Path: string }[]) {
        await (await call(Path, { method: "DELETE" })).arrayBuffer();
      }
    },
    kill,
    start,
    [Symbol.asyncDispose]: stop,
  };
}

/** What `dcmdump` of DCMTK says of elements of a file: the values by their keyword, as they stand in its brackets. */
export async function requireDcmdump(): Promise<(path: string, ...keywords: string[]) => Promise<Map<string, string>>> {
  const dcmdump = await requireProgram({ service: "DCMTK", name: "dcmdump", packages: ["dcmtk"] });
  return async (path, ...keywords) => {
    const options = keywords.flatMap((keyword) => ["+P", keyword]);
    const { stdout } = await execute(dcmdump, ["-q", "+U8", ...options, path], { maxBuffer: 2 ** 24 });
    const values = new Map<string, string>();
    for (const line of stdout.split("\n")) {
      const [, bracketed, plain, keyword] = /^\([\da-f,]+\) \w\w (?:\[(.*?)\s*\]|(\S+)) .*# .* (\w+)$/.exec(line) ?? [];
      // Those of items in sequences come later.
      if (keyword !== undefined && !values.has(keyword)) values.set(keyword, bracketed ?? plain!);
    }
    return values;
  };
}
