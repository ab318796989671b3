import definition from "../../src/sources/postgres-changes/index.ts";
import { sourceContract, type SourceRow } from "../contracts/source.ts";
import { startPostgres } from "../services/postgres.ts";

const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;

sourceContract({
  name: "postgres-changes",
  definition,
  waivers: {
    "from every position that was ever given out, exactly the rest is read":
      "the server keeps what was not committed, and nothing before it",
  },
  async start() {
    const server = await startPostgres({ settings: ["max_replication_slots=60", "max_wal_senders=20"] });
    await server.query(`ALTER ROLE ${server.user} REPLICATION; GRANT CREATE ON SCHEMA public TO ${server.user};
      CREATE ROLE plain LOGIN PASSWORD '${server.password}'`);
    const { host, port, user, password, database } = server;
    const options = { host, port, user, password, database };
    const wrong = (more: Record<string, unknown>): Record<string, unknown> => ({
      ...options,
      connectTimeoutMs: 2_000,
      ...more,
    });
    const append = async (name: string, rows: readonly SourceRow[]): Promise<void> => {
      for (let from = 0; from < rows.length; from += 1000) {
        const values = rows.slice(from, from + 1000).map(({ id, text }) => `(${id}, ${literal(text)})`);
        await server.query(`INSERT INTO ${name} VALUES ${values.join(", ")}`);
      }
    };
    return {
      options,
      secrets: [server.password],
      wrong: [
        { what: "port", options: wrong({ port: 1 }), code: "unreachable" },
        { what: "password", options: wrong({ password: "wrong" }), code: "authentication" },
        { what: "database", options: wrong({ database: "sales" }), code: "not-found" },
        { what: "schema", options: wrong({ schemas: ["pubic"] }), code: "not-found" },
        { what: "no replication", options: wrong({ user: "plain" }), code: "permission" },
      ],
      async create(name, rows) {
        await server.query(
          `CREATE TABLE ${name} (id bigint PRIMARY KEY, text text); ALTER TABLE ${name} OWNER TO ${user}`,
        );
        await append(name, rows);
        return { stream: name, columns: ["id", "text"] };
      },
      append,
      [Symbol.asyncDispose]: () => server.stop(),
    };
  },
});
