import { randomUUID } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo, type Server } from "node:net";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { spawn } from "node:child_process";
import { stringify } from "yaml";
import * as z from "zod";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { registry } from "../../src/registry.ts";
import { millrace, millraceArguments } from "../cli/millrace.ts";
import { startMariadb, type Mariadb } from "../services/mariadb.ts";
import { startPostgres, type Postgres } from "../services/postgres.ts";

/** Long, unguessable, and with characters that URLs, JSON and YAML write in their own ways. */
const canary = `S3CR3T/${randomUUID()}"+&é`;
/** Every way in which it could be written. */
const forms = [
  canary,
  encodeURIComponent(canary),
  JSON.stringify(canary).slice(1, -1),
  Buffer.from(canary).toString("base64"),
  Buffer.from(canary).toString("base64url"),
  Buffer.from(canary).toString("hex"),
  canary.slice(7, 43),
];

let folder: string;
let postgres: Postgres;
let mariadb: Mariadb;
/** Answers every connection with what it was sent, as a hostile server would. */
let echo: Server;
const sockets = new Set<{ destroy(): void }>();
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-canary-"));
  [postgres, mariadb] = await Promise.all([startPostgres(), startMariadb()]);
  echo = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("data", (chunk) => socket.write(chunk));
  }).listen(0, "127.0.0.1");
  await once(echo, "listening");
  await postgres.query(
    "CREATE TABLE t (id int primary key, name text); INSERT INTO t VALUES (1, 'ann'); GRANT SELECT ON t TO reader",
  );
  await mariadb.run("CREATE TABLE shop.t (id int primary key, name text)", "INSERT INTO shop.t VALUES (1, 'ann')");
});
afterAll(async () => {
  for (const socket of sockets) socket.destroy();
  echo.close();
  await postgres[Symbol.asyncDispose]();
  await mariadb[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

const hasSecret = (text: string): boolean => forms.some((form) => text.includes(form));

async function filesBelow(root: string): Promise<string[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

/** The command lines of all processes of this machine, where it shows them. */
function commandLines(): string {
  if (!existsSync("/proc/self/cmdline")) return "";
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8");
      } catch {
        return "";
      }
    })
    .join("\n");
}

test("the search finds what it looks for", () => {
  for (const form of forms) expect(hasSecret(`x ${form} y`)).toBe(true);
  expect(hasSecret("S3CR3T")).toBe(false);
});

/** The options of each connector that are marked as secret. */
const secretOptions: Record<string, string[]> = {
  camera: ["headers", "url"],
  dicomweb: ["authorization", "headers", "password"],
  files: ["headers"],
  // Its keys lie in `credentials`, which every service of AWS has: test/stores, test/enrichers.
  "kinesis-video": [],
  stac: ["headers"],
  postgres: ["password", "url"],
  mysql: ["password", "url"],
};

test("every secret option of every source is put to the test here", async () => {
  for (const [name, entry] of Object.entries(registry.sources)) {
    const { options } = await entry.load();
    const { properties = {} } = z.toJSONSchema(options, { io: "input", unrepresentable: "any" });
    const secrets = Object.keys(properties).filter((option) => (properties[option] as { secret?: boolean }).secret);
    expect({ [name]: secrets.toSorted() }).toEqual({ [name]: secretOptions[name] });
  }
});

describe("a password that is wrong, or that somebody echoes, is nowhere to be seen", () => {
  const connectionsOf = (): Record<string, Record<string, unknown>> => {
    const { port } = echo.address() as AddressInfo;
    const secret = "${env:CANARY}";
    const encoded = "${env:CANARY_URL}";
    return {
      pg_wrong: {
        source: "postgres",
        host: postgres.host,
        port: postgres.port,
        user: "reader",
        database: "shop",
        password: secret,
      },
      pg_url: { source: "postgres", url: `postgres://reader:${encoded}@${postgres.host}:${postgres.port}/shop` },
      pg_nobody: { source: "postgres", url: `postgres://reader:${encoded}@127.0.0.1:1/shop` },
      pg_echo: {
        source: "postgres",
        host: "127.0.0.1",
        port,
        user: "reader",
        password: secret,
        connectTimeoutMs: 1_000,
        ssl: "disable",
      },
      pg_broken: { source: "postgres", url: `postgres://reader:${encoded}@:x/` },
      my_wrong: {
        source: "mysql",
        host: mariadb.host,
        port: mariadb.port,
        user: "reader",
        database: "shop",
        password: secret,
      },
      my_url: { source: "mysql", url: `mysql://reader:${encoded}@${mariadb.host}:${mariadb.port}/shop` },
      my_nobody: { source: "mysql", url: `mysql://reader:${encoded}@127.0.0.1:1/shop` },
      my_echo: {
        source: "mysql",
        host: "127.0.0.1",
        port,
        user: "reader",
        password: secret,
        connectTimeoutMs: 1_000,
        ssl: "disable",
      },
      my_broken: { source: "mysql", url: `mysql://reader:${encoded}@:x/` },
      web_echo: {
        source: "files",
        path: `http://127.0.0.1:${port}/a.csv`,
        allow_hosts: [`127.0.0.1:${port}`],
        headers: { authorization: `Bearer ${secret}` },
      },
      web_query: { source: "files", path: `http://127.0.0.1:1/a.csv?token=${encoded}`, allow_hosts: ["127.0.0.1:1"] },
      cam_echo: {
        source: "camera",
        url: `http://127.0.0.1:${port}/live.m3u8?token=${encoded}`,
        allow_hosts: [`127.0.0.1:${port}`],
        headers: { authorization: `Bearer ${secret}` },
        duration_s: 1,
        stall_s: 1,
      },
      cam_rtsp: { source: "camera", url: `rtsp://reader:${encoded}@127.0.0.1:1/live`, duration_s: 1, stall_s: 1 },
      pacs_echo: {
        source: "dicomweb",
        url: `http://127.0.0.1:${port}/dicom-web`,
        allow_hosts: [`127.0.0.1:${port}`],
        user: "reader",
        password: secret,
        headers: { "x-key": secret },
      },
      pacs_token: {
        source: "dicomweb",
        url: "http://127.0.0.1:1/dicom-web",
        allow_hosts: ["127.0.0.1:1"],
        authorization: `Bearer ${secret}`,
      },
      stac_echo: {
        source: "stac",
        url: `http://127.0.0.1:${port}/stac`,
        allow_hosts: [`127.0.0.1:${port}`],
        headers: { "x-key": secret },
      },
      // A secret where none belongs: the user put it into the wrong option.
      pg_misplaced: { source: "postgres", host: secret, port: postgres.port, user: "reader", connectTimeoutMs: 1_000 },
    };
  };
  const environment = { CANARY: canary, CANARY_URL: encodeURIComponent(canary), MILLRACE_DEBUG: "1" };

  test("check, discover and run, for people and for machines", { timeout: 240_000 }, async () => {
    const connections = connectionsOf();
    const streams: Record<string, string> = { pg: "public.t", my: "t", cam: "live", pacs: "studies", stac: "*" };
    const flows = Object.fromEntries(
      Object.keys(connections).map((name) => [
        `flow_${name}`,
        {
          from: name.startsWith("web")
            ? { connection: name }
            : { connection: name, stream: streams[name.split("_")[0]!]! },
        },
      ]),
    );
    await writeFile(join(folder, "millrace.yaml"), stringify({ store: "./lake", connections, flows }));
    // One way a connection: each fails in the same code of the driver.
    const commands = Object.keys(connections).map((name, index) =>
      index % 2 === 0 ? ["check", name] : ["run", `flow_${name}`, "--json"],
    );
    commands.push(
      ["discover", "pg_wrong"],
      ["discover", "my_wrong", "--json"],
      ["check", "web_echo"],
      ["run", "flow_web_query"],
      ["check", "pg_url", "--json"],
    );
    const leaks: string[] = [];
    let failed = 0;
    for (let index = 0; index < commands.length; index += 2) {
      await Promise.all(
        commands.slice(index, index + 2).map(async (command) => {
          const { code, stdout, stderr } = await millrace(folder, command, { env: environment });
          if (code !== 0) failed++;
          expect(`${command.join(" ")}: ${stderr.length + stdout.length > 0}`).toBe(`${command.join(" ")}: true`);
          if (hasSecret(stdout)) leaks.push(`${command.join(" ")}: stdout: ${stdout}`);
          if (hasSecret(stderr)) leaks.push(`${command.join(" ")}: stderr: ${stderr}`);
        }),
      );
    }
    expect(leaks).toEqual([]);
    // The fault fired: nobody got in.
    expect(failed).toBe(commands.length);
    for (const file of await filesBelow(folder))
      expect(`${file}: ${hasSecret(await readFile(file, "latin1"))}`).toBe(`${file}: false`);
  });

  test(
    "a password that is right is in no file of the lake, and in no command line while it is used",
    { timeout: 120_000 },
    async () => {
      await postgres.query(`ALTER ROLE reader PASSWORD '${canary}'`);
      await mariadb.run(`ALTER USER reader@'%' IDENTIFIED BY '${canary}'`).catch(async () => {
        const [row] = await mariadb.query(
          "SELECT concat(quote(user), '@', quote(host)) AS account FROM mysql.user WHERE user = 'reader'",
        );
        await mariadb.run(`ALTER USER ${String(row!["account"])} IDENTIFIED BY '${canary}'`);
      });
      const connections = connectionsOf();
      const flows = {
        a: { from: { connection: "pg_wrong", stream: "public.t" } },
        b: { from: { connection: "my_url", stream: "t" } },
        slow: { from: { connection: "pg_url", query: "select 1 as id, pg_sleep(4)::text as nothing" } },
      };
      await writeFile(join(folder, "millrace.yaml"), stringify({ store: "./lake", connections, flows }));
      for (const flow of ["a", "b"]) {
        const { code, stdout, stderr } = await millrace(folder, ["run", flow, "--json"], { env: environment });
        expect(`${flow}: ${code}: ${stderr}`).toMatch(new RegExp(`^${flow}: 0: `));
        expect(hasSecret(stdout + stderr)).toBe(false);
      }
      const child = spawn(process.execPath, millraceArguments(["run", "slow"]), {
        cwd: folder,
        env: { ...process.env, ...environment },
        stdio: "ignore",
      });
      const ended = once(child, "exit");
      await expect
        .poll(
          async () =>
            (
              await postgres.query(
                "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(4)%' AND state = 'active' AND pid <> pg_backend_pid()",
              )
            ).length,
          { timeout: 30_000 },
        )
        .toBeGreaterThan(0);
      expect(hasSecret(commandLines())).toBe(false);
      await ended;
      const files = await filesBelow(folder);
      expect(files.length).toBeGreaterThan(5);
      for (const file of files) expect(`${file}: ${hasSecret(await readFile(file, "latin1"))}`).toBe(`${file}: false`);
    },
  );
});
