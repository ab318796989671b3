import definition from "../../src/sources/mysql-changes/index.ts";
import { sourceContract, type SourceRow } from "../contracts/source.ts";
import { startMariadb } from "../services/mariadb.ts";

const literal = (text: string): string => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "''")}'`;

sourceContract({
  name: "mysql-changes",
  definition,
  async start() {
    const server = await startMariadb([
      "--log-bin=changes",
      "--server-id=7",
      "--binlog-format=ROW",
      "--binlog-row-image=FULL",
      "--binlog-row-metadata=FULL",
    ]);
    await server.run(
      `GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO ${server.user}`,
      `CREATE USER plain IDENTIFIED BY '${server.password}'`,
      "GRANT SELECT ON shop.* TO plain",
    );
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
        await server.run(`INSERT INTO ${name} VALUES ${values.join(", ")}`);
      }
    };
    return {
      options,
      secrets: [server.password],
      wrong: [
        { what: "port", options: wrong({ port: 1 }), code: "unreachable" },
        { what: "password", options: wrong({ password: "wrong" }), code: "authentication" },
        { what: "database", options: wrong({ database: "sales" }), code: "permission" },
        { what: "no replication", options: wrong({ user: "plain" }), code: "permission" },
      ],
      async create(name, rows) {
        await server.run(`CREATE TABLE ${name} (id bigint PRIMARY KEY, text longtext CHARACTER SET utf8mb4)`);
        await append(name, rows);
        return { stream: name, columns: ["id", "text"] };
      },
      append,
      [Symbol.asyncDispose]: () => server.stop(),
    };
  },
});
