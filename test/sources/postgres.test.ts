import definition from "../../src/sources/postgres/index.ts";
import { sqlSourceContract, type SqlSubject } from "../contracts/source/sql.ts";
import { startPostgres } from "../services/postgres.ts";
import { matrix, matrixTypes } from "./postgres-matrix.ts";

async function start(): Promise<SqlSubject> {
  const server = await startPostgres();
  await server.query(`
    ${matrixTypes}
    CREATE ROLE nobody LOGIN PASSWORD '${server.password}'`);
  const wrong = (options: Record<string, unknown>): Record<string, unknown> => ({
    host: server.host,
    port: server.port,
    user: server.user,
    password: server.password,
    database: server.database,
    connectTimeoutMs: 2_000,
    ...options,
  });
  return {
    options: { url: server.url },
    secret: server.password,
    wrong: [
      { what: "port", options: wrong({ port: 1 }), code: "unreachable" },
      { what: "host", options: wrong({ host: "no-such-host.invalid" }), code: "unreachable" },
      { what: "user", options: wrong({ user: "somebody" }), code: "authentication" },
      { what: "password", options: wrong({ user: "postgres" }), code: "authentication" },
      { what: "no password", options: wrong({ password: undefined }), code: "authentication" },
      { what: "database", options: wrong({ database: "sales" }), code: "not-found" },
      { what: "schema", options: wrong({ schemas: ["pubic"] }), code: "not-found" },
      { what: "permission", options: wrong({ user: "nobody" }), code: "permission" },
      { what: "certificate", options: wrong({ ssl: "verify-full" }), code: "authentication" },
      { what: "url", options: { url: `postgres://reader:${server.password}@127.0.0.1:port/x` }, code: "config" },
      { what: "scheme", options: { url: server.url.replace("postgres:", "http:") }, code: "config" },
    ],
    run: (sql) => server.query(sql),
    schema: "public",
    quote: (name) => `"${name.replaceAll('"', '""')}"`,
    literal: (text) => `'${text.replaceAll("'", "''")}'`,
    nameBytes: 63,
    types: { long: "bigint", text: "text", timestamp: "timestamp" },
    generate: (rows) => `SELECT n, n || ' ' || repeat('x', 40) AS t FROM generate_series(1, ${rows}) AS n`,
    slow: "SELECT 1 AS one FROM (SELECT pg_sleep(30)) AS nap",
    async connections() {
      const [row] = await server.query(
        `SELECT count(*) AS all, count(*) FILTER (WHERE state = 'active') AS busy
         FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name <> 'test-admin'`,
      );
      return { all: Number(row!.all), busy: Number(row!.busy) };
    },
    restart: () => server.restart(),
    [Symbol.asyncDispose]: () => server.stop(),
  };
}

sqlSourceContract({
  name: "postgres",
  definition,
  matrix,
  start,
  waivers: {},
});
