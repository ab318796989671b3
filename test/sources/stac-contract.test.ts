import definition from "../../src/sources/stac/index.ts";
import { sourceContract, type SourceRow } from "../contracts/source.ts";
import { startStac } from "../services/stac.ts";

sourceContract({
  name: "stac",
  definition: definition as never,
  async start() {
    const server = await startStac();
    const token = "Bearer 8f31-secret-of-the-catalogue";
    server.behaviour.authorization = token;
    server.files.set("/page.html", { body: Buffer.from("<!DOCTYPE html>"), type: "text/html" });
    const options = {
      url: `${server.origin}/`,
      headers: { authorization: token },
      allow_hosts: [server.host],
      page: 1000,
    };
    let batch = 0;
    const itemsOf = (collection: string, rows: readonly SourceRow[]) => {
      const updated = new Date(Date.UTC(2024, 0, 1) + 1000 * batch++).toISOString();
      return rows.map(({ id, text }) => ({
        type: "Feature",
        stac_version: "1.0.0",
        id: String(id),
        collection,
        geometry: null,
        properties: { datetime: "2024-01-01T00:00:00Z", updated, text },
        assets: {},
        links: [],
      }));
    };
    return {
      options,
      secrets: [token],
      wrong: [
        {
          what: "nobody listens",
          options: { url: "http://127.0.0.1:9/", allow_hosts: ["127.0.0.1:9"] },
          code: "unreachable",
        },
        { what: "a host that may not be called", options: { url: options.url }, code: "permission" },
        { what: "no token", options: { ...options, headers: {} }, code: "authentication" },
        { what: "no catalogue", options: { ...options, url: `${server.origin}/page.html` }, code: "parse" },
        { what: "no URL", options: { ...options, url: "catalog.json" }, code: "config" },
      ],
      async create(name, rows) {
        server.collections.set(name, itemsOf(name, rows));
        return {
          stream: name,
          cursor: "updated",
          columns: ["id", "text"],
          options: { properties: { text: "string" } },
        };
      },
      async append(name, rows) {
        server.collections.get(name)!.push(...itemsOf(name, rows));
      },
      [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
    };
  },
});
