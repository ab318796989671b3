import definition from "../../src/sinks/postgres/index.ts";
import { sinkContract } from "../contracts/sink.ts";
import type { SinkDefinition } from "../../src/core/index.ts";
import { startPostgres } from "../services/postgres.ts";
import { startCuttingProxy } from "./cutting-proxy.ts";

sinkContract({
  name: "postgres",
  definition: definition as unknown as SinkDefinition,
  cuts: true,
  async start() {
    const server = await startPostgres();
    await server.query(`GRANT CREATE ON SCHEMA public TO ${server.user}; CREATE SCHEMA closed`);
    const proxy = await startCuttingProxy(server.port);
    const { user, password, database } = server;
    const options = { host: "127.0.0.1", port: proxy.port, user, password, database, ssl: "disable" };
    return {
      options,
      secrets: [password],
      wrong: [
        { what: "password", options: { ...options, password: "another-c4nary" }, code: "authentication" },
        { what: "no such schema", options: { ...options, schema: "absent" }, code: "not-found" },
        { what: "a schema that is not ours", options: { ...options, schema: "closed" }, code: "permission" },
        { what: "nobody listens", options: { ...options, port: 1 }, code: "unreachable" },
      ],
      async rows(target) {
        const table = `"${target.replaceAll('"', '""')}"`;
        const [there] = await server.query("SELECT to_regclass($1) IS NOT NULL AS there", [`public.${table}`]);
        if (there!["there"] !== "t") return undefined;
        const names = await server.query(
          "SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped",
          [`public.${table}`],
        );
        const list = names.map(({ attname }, index) => `"${attname!.replaceAll('"', '""')}"::text AS c${index}`);
        const rows = await server.query(`SELECT ${list.join(", ")} FROM public.${table}`);
        return rows.map((row) => Object.fromEntries(names.map(({ attname }, index) => [attname!, row[`c${index}`]!])));
      },
      cut: (requests) => proxy.cut(requests),
      async [Symbol.asyncDispose]() {
        await proxy[Symbol.asyncDispose]();
        await server.stop();
      },
    };
  },
});
