import { execFile, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { MillraceError } from "../../src/core/index.ts";
import { freePort, requireProgram } from "./install.ts";

const execute = promisify(execFile);

/** A server of Redis on a port of its own, with its data in a temporary folder. */
export interface RedisServer extends AsyncDisposable {
  port: number;
  process: ChildProcess;
  /** Asks the server as its administrator, without the library that is under test; gives what `redis-cli` prints. */
  command(...words: string[]): Promise<string>;
}

const program = (name: string) => requireProgram({ service: "Redis", packages: ["redis-server"], name });

/** Throws `unreachable` when it cannot be had. */
export async function startRedis(...options: string[]): Promise<RedisServer> {
  const [server, client] = await Promise.all([program("redis-server"), program("redis-cli")]);
  for (let attempt = 1; ; attempt++) {
    const port = await freePort();
    const folder = await mkdtemp(join(tmpdir(), "millrace-redis-"));
    const words = ["--port", String(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--daemonize", "no"];
    const child = spawn(server, [...words, ...options], { stdio: ["ignore", "pipe", "inherit"] });
    const command = async (...asked: string[]): Promise<string> => {
      const { stdout } = await execute(client, ["-p", String(port), ...asked], { maxBuffer: 1 << 28 });
      return stdout;
    };
    const stop = async (): Promise<void> => {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill("SIGKILL");
        await once(child, "exit");
      }
      await rm(folder, { recursive: true, force: true });
    };
    child.stdout.resume();
    if (await isUp(child, command)) return { port, process: child, command, [Symbol.asyncDispose]: stop };
    await stop();
    // Somebody else took the port in between.
    if (attempt === 3) throw new MillraceError("unreachable", "Redis cannot be started");
  }
}

async function isUp(child: ChildProcess, command: (...words: string[]) => Promise<string>): Promise<boolean> {
  for (let attempt = 0; attempt < 200; attempt++) {
    if (child.exitCode !== null) return false;
    const answer = await command("PING").catch(() => "");
    if (answer.startsWith("PONG")) return true;
    await sleep(50);
  }
  return false;
}

/** Three servers that are one cluster. */
export async function startRedisCluster(): Promise<{ nodes: RedisServer[] } & AsyncDisposable> {
  const nodes = await Promise.all(
    [0, 1, 2].map(() => startRedis("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")),
  );
  const client = await program("redis-cli");
  const places = nodes.map(({ port }) => `127.0.0.1:${port}`);
  await execute(client, ["--cluster", "create", ...places, "--cluster-replicas", "0", "--cluster-yes"]);
  for (const node of nodes) {
    for (let attempt = 0; !(await node.command("CLUSTER", "INFO")).includes("cluster_state:ok"); attempt++) {
      if (attempt === 200) throw new MillraceError("unreachable", "the Redis cluster does not come up");
      await sleep(50);
    }
  }
  return {
    nodes,
    async [Symbol.asyncDispose]() {
      for (const node of nodes) await node[Symbol.asyncDispose]();
    },
  };
}
