import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { makePlace, published, type Place } from "../pipeline/place.ts";
import { startMariadb, type Mariadb } from "../services/mariadb.ts";
import { startPostgres, type Postgres } from "../services/postgres.ts";

let place: Place;
let postgres: Postgres;
let mariadb: Mariadb;
beforeAll(async () => {
  [place, postgres, mariadb] = await Promise.all([makePlace(), startPostgres(), startMariadb()]);
});
afterAll(async () => {
  await postgres[Symbol.asyncDispose]();
  await mariadb[Symbol.asyncDispose]();
  await place[Symbol.asyncDispose]();
});

const guide = readFileSync(fileURLToPath(new URL("../../docs/guide/security.md", import.meta.url)), "utf8");

/** The statements of a block of the guide: what people are told to grant is what is tested. */
function statements(title: string): string[] {
  const block = new RegExp(`${title}[^\`]*\`\`\`sql\n([^\`]*)\`\`\``).exec(guide)?.[1];
  if (block === undefined) throw new Error(`docs/guide/security.md has no SQL under "${title}"`);
  return block
    .split(";")
    .map((statement) => statement.replaceAll(/^--.*$/gm, "").trim())
    .filter((statement) => statement !== "");
}

const rows = "VALUES (1, 'ann', '2024-01-01'), (2, 'bob', '2024-01-02')";

describe("PostgreSQL with the grants of the guide and no others", () => {
  const flows = {
    whole: { from: { connection: "shop", stream: "sales.orders" }, mode: "replace" },
    newer: { from: { connection: "shop", stream: "sales.orders", cursor: "day" }, mode: "append" },
    query: { from: { connection: "shop", query: "select count(*) as n from sales.orders" }, mode: "replace" },
    secret: { from: { connection: "shop", stream: "private.salaries" }, mode: "replace" },
    ungranted: { from: { connection: "shop", stream: "sales.notes" }, mode: "replace" },
  };
  const open = () =>
    place.open(flows, {
      connections: {
        shop: {
          source: "postgres",
          host: postgres.host,
          port: postgres.port,
          database: "shop",
          user: "millrace",
          password: "change-me",
        },
      },
    });
  beforeAll(async () => {
    await postgres.query(`
      REVOKE ALL ON DATABASE shop FROM PUBLIC; REVOKE ALL ON SCHEMA public FROM PUBLIC;
      CREATE SCHEMA sales; CREATE SCHEMA private;
      CREATE TABLE sales.orders (id int PRIMARY KEY, name text, day date); INSERT INTO sales.orders ${rows};
      CREATE TABLE private.salaries (id int); INSERT INTO private.salaries VALUES (1)`);
    for (const statement of statements("PostgreSQL")) await postgres.query(statement);
    await postgres.query("CREATE TABLE sales.notes (id int); REVOKE SELECT ON sales.notes FROM millrace");
  });

  test("tables, what is new, and queries are read", async () => {
    await using lake = await open();
    await lake.check("shop");
    expect((await published(lake.run("whole"))).written).toBe(2);
    expect((await published(lake.run("newer"))).written).toBe(2);
    await postgres.query("INSERT INTO sales.orders VALUES (3, 'cyd', '2024-01-03')");
    expect((await published(lake.run("newer"))).written).toBe(1);
    expect((await published(lake.run("query"))).written).toBe(1);
  });

  test("what is missing is named", async () => {
    await using lake = await open();
    await expect(lake.run("secret")).rejects.toMatchObject({
      code: "permission",
      hint: expect.stringMatching(/GRANT USAGE ON SCHEMA/i),
    });
    await expect(lake.run("ungranted")).rejects.toMatchObject({
      code: "permission",
      hint: expect.stringMatching(/GRANT SELECT/i),
    });
  });

  test("the role can change nothing", async () => {
    const { default: pg } = await import("pg");
    const client = new pg.Client({
      host: postgres.host,
      port: postgres.port,
      database: "shop",
      user: "millrace",
      password: "change-me",
    });
    await client.connect();
    await expect(client.query("DELETE FROM sales.orders")).rejects.toMatchObject({
      code: expect.stringMatching(/42501|25006/),
    });
    await expect(client.query("CREATE TABLE sales.x (id int)")).rejects.toMatchObject({
      code: expect.stringMatching(/42501|25006/),
    });
    await client.end();
  });
});

describe("MySQL and MariaDB with the grants of the guide and no others", () => {
  const flows = {
    whole: { from: { connection: "shop", stream: "orders" }, mode: "replace" },
    newer: { from: { connection: "shop", stream: "orders", cursor: "id" }, mode: "append" },
    query: { from: { connection: "shop", query: "select count(*) as n from orders" }, mode: "replace" },
    secret: { from: { connection: "shop", stream: "private.salaries" }, mode: "replace" },
  };
  const open = () =>
    place.open(Object.fromEntries(Object.entries(flows).map(([name, flow]) => [`my_${name}`, flow])), {
      connections: {
        shop: {
          source: "mysql",
          host: mariadb.host,
          port: mariadb.port,
          database: "shop",
          user: "millrace",
          password: "change-me",
        },
      },
    });
  beforeAll(async () => {
    await mariadb.run(
      "CREATE DATABASE private",
      "CREATE TABLE private.salaries (id int)",
      "CREATE TABLE shop.orders (id int PRIMARY KEY, name text, day date)",
      `INSERT INTO shop.orders ${rows}`,
      ...statements("MySQL and MariaDB"),
    );
  });

  test("tables, what is new, and queries are read", async () => {
    await using lake = await open();
    await lake.check("shop");
    expect((await published(lake.run("my_whole"))).written).toBe(2);
    expect((await published(lake.run("my_newer"))).written).toBe(2);
    await mariadb.run("INSERT INTO shop.orders VALUES (3, 'cyd', '2024-01-03')");
    expect((await published(lake.run("my_newer"))).written).toBe(1);
    expect((await published(lake.run("my_query"))).written).toBe(1);
  });

  test("what is missing is named", async () => {
    await using lake = await open();
    await expect(lake.run("my_secret")).rejects.toMatchObject({
      code: "permission",
      hint: expect.stringMatching(/GRANT SELECT/i),
    });
  });
});
