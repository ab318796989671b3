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

/** The keys that every service of AWS has. */
const aws = ["credentials.secret_access_key", "credentials.session_token"];
/** The options of each connector that are marked as secret. */
const secretOptions: Record<string, string[]> = {
  "app-logs": ["keys.key"],
  camera: ["headers", "url"],
  clickstream: ["keys.key"],
  "cloudwatch-logs": aws,
  dicomweb: ["authorization", "headers", "options.deidentify.key", "password"],
  files: ["headers"],
  form: [],
  kafka: [
    "registry.password",
    "registry.token",
    "sasl.client_secret",
    ...aws.map((option) => `sasl.${option}`),
    "sasl.password",
    "sasl.token",
    "tls.passphrase",
  ],
  kinesis: aws,
  "kinesis-video": aws,
  mysql: ["password", "url"],
  "mysql-changes": ["password", "url"],
  postgres: ["password", "url"],
  "postgres-changes": ["password", "url"],
  stac: ["headers"],
  webhook: ["senders.secret"],
};

/** The paths of what is marked as secret in a JSON Schema; those of lists, records and unions have the name of what they are in. */
function secretsOf(schema: unknown, path: string[] = [], found = new Set<string>()): Set<string> {
  if (typeof schema !== "object" || schema === null) return found;
  if ((schema as { secret?: boolean }).secret) found.add(path.join("."));
  for (const [key, value] of Object.entries(schema)) {
    if (key !== "properties") secretsOf(value, path, found);
    else for (const [name, option] of Object.entries(value as object)) secretsOf(option, [...path, name], found);
  }
  return found;
}

test("every secret option of every source is put to the test here", async () => {
  for (const [name, entry] of Object.entries(registry.sources)) {
    const { options } = await entry.load();
    const secrets = [...secretsOf(z.toJSONSchema(options, { io: "input", unrepresentable: "any" }))];
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
      pgc_wrong: {
        source: "postgres-changes",
        host: postgres.host,
        port: postgres.port,
        user: "reader",
        database: "shop",
        password: secret,
        publication: "p",
      },
      pgc_nobody: {
        source: "postgres-changes",
        url: `postgres://reader:${encoded}@127.0.0.1:1/shop`,
        publication: "p",
      },
      myc_wrong: {
        source: "mysql-changes",
        host: mariadb.host,
        port: mariadb.port,
        user: "reader",
        database: "shop",
        password: secret,
      },
      myc_nobody: { source: "mysql-changes", url: `mysql://reader:${encoded}@127.0.0.1:1/shop` },
      k_echo: {
        source: "kafka",
        brokers: [`127.0.0.1:${port}`],
        connect_timeout_ms: 1_000,
        request_timeout_ms: 1_000,
        sasl: { mechanism: "plain", username: "reader", password: secret },
        registry: { url: `http://127.0.0.1:${port}`, username: "reader", password: secret },
      },
      k_nobody: {
        source: "kafka",
        brokers: ["127.0.0.1:1"],
        connect_timeout_ms: 1_000,
        request_timeout_ms: 1_000,
        sasl: { mechanism: "scram-sha-512", username: "reader", password: secret },
      },
      k_oauth: { source: "kafka", brokers: ["127.0.0.1:1"], sasl: { mechanism: "oauthbearer", token: secret } },
      kin_echo: {
        source: "kinesis",
        region: "eu-west-1",
        endpoint: `http://127.0.0.1:${port}`,
        credentials: { access_key_id: "AKIA", secret_access_key: secret, session_token: secret },
      },
      log_nobody: {
        source: "cloudwatch-logs",
        region: "eu-west-1",
        endpoint: "http://127.0.0.1:1",
        credentials: { access_key_id: "AKIA", secret_access_key: secret, session_token: secret },
      },
      // A secret where none belongs: the user put it into the wrong option.
      pg_misplaced: { source: "postgres", host: secret, port: postgres.port, user: "reader", connectTimeoutMs: 1_000 },
    };
  };
  /** Collectors, whose keys others use: as they should be, and with a mistake beside the key. */
  const collectorsOf = (wrong: object): Record<string, Record<string, unknown>> => {
    const keys = { web: { key: "${env:CANARY}", ...wrong } };
    return {
      clicks: { source: "clickstream", keys },
      logs: { source: "app-logs", keys },
      hook: { source: "webhook", senders: { pay: { scheme: "stripe", secret: "${env:CANARY}", ...wrong } } },
    };
  };
  const environment = { CANARY: canary, CANARY_URL: encodeURIComponent(canary), MILLRACE_DEBUG: "1" };

  test("check, discover and run, for people and for machines", { timeout: 240_000 }, async () => {
    const connections = connectionsOf();
    const streams: Record<string, string> = {
      pg: "public.t",
      pgc: "public.t",
      cam: "live",
      pacs: "studies",
    };
    const flows = Object.fromEntries(
      Object.keys(connections).map((name) => [
        `flow_${name}`,
        {
          from: name.startsWith("web")
            ? { connection: name }
            : { connection: name, stream: streams[name.split("_")[0]!] ?? "t" },
        },
      ]),
    );
    await writeFile(join(folder, "millrace.yaml"), stringify({ store: "./lake", connections, flows }));
    // One way a connection: each fails in the same code of the driver. A run waits half a minute for Kafka's brokers to come back.
    const commands = Object.keys(connections).map((name, index) =>
      index % 2 === 0 || name.startsWith("k_") ? ["check", name] : ["run", `flow_${name}`, "--json"],
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
          // What was never tried, because the file was refused as a whole, does not count.
          if (code !== 0 && !(stdout + stderr).includes("the configuration has")) failed++;
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

  test("keys of collectors, with and without a mistake beside them", { timeout: 60_000 }, async () => {
    const codes: (number | null)[] = [];
    for (const wrong of [{}, { what: "is not an option" }]) {
      const place = await mkdtemp(join(folder, "collectors-"));
      await writeFile(
        join(place, "millrace.yaml"),
        stringify({ store: "./lake", connections: collectorsOf(wrong), flows: {} }),
      );
      for (const name of ["clicks", "logs", "hook"]) {
        const { code, stdout, stderr } = await millrace(place, ["check", name], { env: environment });
        codes.push(code);
        expect(`${name}: ${hasSecret(stdout + stderr)}`).toBe(`${name}: false`);
      }
      for (const file of await filesBelow(place))
        expect(`${file}: ${hasSecret(await readFile(file, "latin1"))}`).toBe(`${file}: false`);
    }
    expect(codes).toEqual([0, 0, 0, 2, 2, 2]);
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
