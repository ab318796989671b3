import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { expect } from "vitest";
import {
  formatType,
  isMillraceError,
  sqlName,
  type Column,
  type Cursor,
  type Plan,
  type ReadRequest,
  type RejectedRecord,
  type Source,
  type SourceDefinition,
} from "../../../src/core/index.ts";
import { assignFieldIds } from "../../../src/dataset/index.ts";
import { columnChecksum, openEngine, stagedRelation, type Engine } from "../../../src/engine/index.ts";
import { formatStreamName } from "../../../src/sources/sql/index.ts";
import type { SourceRow, SourceSubject } from "../source.ts";
import { naughtyStrings } from "../support/names.ts";
import { errorOf, until } from "../support/observe.ts";
import { runContract, type Fixture, type Rules, type Waivers } from "../support/suite.ts";
import { sourceRulesOn } from "./rules.ts";

/** One column of the type matrix: how it is declared, what it becomes, and what each value is in the dataset. */
export interface TypeCase {
  /** As the server declares it. */
  declared: string;
  /** As `formatType` writes it. */
  type: string;
  /** SQL of a value, and the engine's text of it in the dataset; null is null. */
  values: [sql: string, expected: string | null][];
  /** SQL of values that cannot be represented: the row must be rejected, with a reason that names the column. */
  rejected?: string[];
}

/** A running server of a kind, and how its dialect says what the tests need. */
export interface SqlSubject extends AsyncDisposable {
  /** A configuration that works. */
  options: Record<string, unknown>;
  /** The password in it. */
  secret: string;
  /** Configurations that must fail, and the code of the error. */
  wrong: { what: string; options: Record<string, unknown>; code: string }[];
  /** Runs one statement as an administrator, in the schema that names without schema are looked up in. */
  run(sql: string): Promise<unknown>;
  /** Names of tables in the same schema begin with this: `public`. */
  schema: string;
  quote(name: string): string;
  literal(text: string): string;
  /** Longest name of a table or column, bytes. */
  nameBytes: number;
  /** Whether the server can hold a name that is short enough; absent: any. */
  takesName?(name: string): boolean;
  types: { long: string; text: string; timestamp: string };
  /** A SELECT of two columns `n`, `t` that gives `rows` rows: `n` from 1 on, `t` a text that begins with n. */
  generate(rows: number): string;
  /** A SELECT that gives nothing for at least ten seconds. */
  slow: string;
  /** How many connections the server sees of us, and how many of them are at work. */
  connections(): Promise<{ all: number; busy: number }>;
  /** Ends all connections and starts again. */
  restart(): Promise<void>;
}

export interface SqlSourceContract {
  name: string;
  definition: SourceDefinition;
  /** By a name that can be part of a table's. */
  matrix: Record<string, TypeCase>;
  start(): Promise<SqlSubject>;
  /** Tests that are known to fail, and why. They are expected to fail: once mended, the waiver must go. */
  waivers?: Waivers;
}

const namesAndValues = naughtyStrings().filter((value) => !value.includes("\0"));

/** What was read and landed: a FROM item, and what did not fit. */
interface Landing {
  plan: Plan;
  relation: string;
  rejected: RejectedRecord[];
  read: number;
}

/** Tests that every SQL source passes, on a real server and through the real engine. */
export function sqlSourceContract(contract: SqlSourceContract): void {
  runContract(contract, "source", (rules) => sqlSourceRules(contract, rules));
}

/** The rules themselves, for a run of them outside of a suite: those of every source, and those of SQL. */
export function sqlSourceRules(contract: SqlSourceContract, rules: Rules): Fixture {
  const { definition, matrix } = contract;
  const { rule } = rules;
  let subject: SqlSubject;
  let source: Source;
  let engine: Engine;
  let folder: string;
  let landings = 0;

  const open = (options: Record<string, unknown> = subject.options): Promise<Source> =>
    openSource(definition, options, engine);
  const create = async (table: string, columns: string): Promise<void> => {
    await subject.run(`CREATE TABLE ${subject.quote(table)} (${columns})`);
  };
  const land = async (request: ReadRequest, after?: Cursor, from: Source = source): Promise<Landing> => {
    const plan = await from.plan(request, after === undefined ? {} : { after });
    const { columns } = assignFields(plan.columns);
    const paths: string[] = [];
    const rejected: RejectedRecord[] = [];
    let read = 0;
    for (const part of plan.parts) {
      const landPart = async (tolerant: boolean): Promise<void> => {
        const payload = await from.read(JSON.parse(JSON.stringify(part)) as typeof part, request, {});
        const prefix = `landing-${landings++}`;
        const landed = await engine.land({ payload, columns, folder, prefix, ...(tolerant ? { tolerant } : {}) });
        paths.push(...landed.files.map((file) => file.path));
        rejected.push(...landed.rejected);
        read += landed.read;
        if (payload.form === "bytes") expect(payload.rows?.()).toBe(landed.read);
      };
      try {
        await landPart(false);
      } catch (error) {
        if (!isMillraceError(error) || error.code !== "parse") throw error;
        await landPart(true);
      }
    }
    return { plan, relation: stagedRelation(paths, columns), rejected, read };
  };
  const rowsOf = async (landing: Landing, list: string): Promise<string[]> => {
    const rows = await engine.query(`SELECT concat_ws('|', ${list}) AS line FROM ${landing.relation}`);
    return rows.map((row) => String(row["line"])).toSorted();
  };
  sourceRulesOn(
    {
      definition,
      open,
      get subject() {
        return plainSubject(subject);
      },
      get engine() {
        return engine;
      },
      get folder() {
        return folder;
      },
    },
    rules,
  );

  for (const [column, { declared, type, values, rejected = [] }] of Object.entries(matrix)) {
    rule(`${declared} (${column}) keeps its values`, async () => {
      const table = `matrix_${column}`;
      await create(table, `id ${subject.types.long}, v ${declared}`);
      const rows = [...values.map(([sql]) => sql), "NULL"].map((sql, index) => `(${index}, ${sql})`);
      await subject.run(`INSERT INTO ${subject.quote(table)} VALUES ${rows.join(", ")}`);
      const landing = await land({ stream: table });
      expect(formatType(landing.plan.columns[1]!.type)).toBe(type);
      const found = await engine.query(`SELECT id, v::VARCHAR AS v FROM ${landing.relation} ORDER BY id`);
      expect(found.map((row) => row["v"])).toEqual([...values.map(([, expected]) => expected), null]);
      expect(landing.rejected).toEqual([]);
      await sameFacts(landing, table);
    });

    if (rejected.length === 0) continue;
    rule(`${declared} (${column}): what has no place is rejected with a reason, its neighbours arrive`, async () => {
      const table = `reject_${column}`;
      await create(table, `id ${subject.types.long}, v ${declared}`);
      const rows = [values[0]![0], ...rejected].map((sql, index) => `(${index}, ${sql})`);
      await subject.run(`INSERT INTO ${subject.quote(table)} VALUES ${rows.join(", ")}`);
      const landing = await land({ stream: table });
      expect(await rowsOf(landing, "id")).toEqual(["0"]);
      expect(landing.rejected.map(({ reason }) => reason.includes("`v`"))).toEqual(rejected.map(() => true));
      expect(landing.read).toBe(1 + rejected.length);
    });
  }

  /** The checksums of the server are those of what was landed. */
  async function sameFacts(landing: Landing, stream: string): Promise<void> {
    if (!source.measure) return;
    const { columns } = landing.plan;
    const measured = await source.measure({ stream }, { columns });
    for (const column of columns) {
      const checksum = columnChecksum(sqlName(column.name), column.type);
      const list = `count(*) AS rows, count(*) - count(${sqlName(column.name)}) AS nulls${checksum ? `, ${checksum} AS checksum` : ""}`;
      const [ours] = await engine.query(`SELECT ${list} FROM ${landing.relation}`);
      const facts = measured.columns[column.name]!;
      const what = `${stream}.${column.name}`;
      expect({ what, rows: measured.rows, nulls: facts.nulls }).toEqual({
        what,
        rows: Number(ours!["rows"]),
        nulls: Number(ours!["nulls"]),
      });
      if (checksum !== undefined && facts.checksum !== undefined) {
        expect(`${what} ${facts.checksum}`).toBe(`${what} ${String(ours!["checksum"])}`);
      }
    }
  }

  rule("null, the empty string and text of every kind are told apart", async () => {
    const values = [
      null,
      "",
      "NULL",
      "null",
      "\\N",
      "\\.",
      '"',
      '""',
      ",",
      "\n",
      "\r\n",
      "\r",
      "\t",
      " ",
      "  a ",
      "'",
      "\\",
    ];
    for (const columns of ["v", "id, v"]) {
      const table = `texts_${columns.length}`;
      await create(table, columns.replace("id", `id ${subject.types.long}`).replace("v", `v ${subject.types.text}`));
      const rows = values.map((value, index) => {
        const sql = value === null ? "NULL" : subject.literal(value);
        return columns === "v" ? `(${sql})` : `(${index}, ${sql})`;
      });
      await subject.run(`INSERT INTO ${subject.quote(table)} VALUES ${rows.join(", ")}`);
      const landing = await land({ stream: table });
      const found = await engine.query(`SELECT v FROM ${landing.relation}`);
      expect(found.map((row) => inspect(row["v"])).toSorted()).toEqual(
        values.map((value) => inspect(value)).toSorted(),
      );
      await sameFacts(landing, table);
    }
  });

  rule("naughty strings survive as values", async () => {
    const naughty = namesAndValues;
    await create("naughty", `id ${subject.types.long}, v ${subject.types.text}`);
    for (let from = 0; from < naughty.length; from += 100) {
      const rows = naughty
        .slice(from, from + 100)
        .map((value, index) => `(${from + index}, ${subject.literal(value)})`);
      await subject.run(`INSERT INTO naughty VALUES ${rows.join(", ")}`);
    }
    const landing = await land({ stream: "naughty" });
    const found = await engine.query(`SELECT v FROM ${landing.relation} ORDER BY id`);
    expect(found.map((row) => row["v"])).toEqual(naughty);
    await sameFacts(landing, "naughty");
  });

  rule("naughty strings are the names of tables and columns", async () => {
    await create("sentinel", `v ${subject.types.long}`);
    const seen = new Set<string>();
    const names = namesAndValues.filter((value) => {
      const folded = value.toLowerCase().trim();
      const fits = value.trim() === value && Buffer.byteLength(value) <= subject.nameBytes;
      const isTaken = subject.takesName?.(value) ?? true;
      const isNew =
        fits && isTaken && folded !== "" && !seen.has(folded) && !/[\0\ufffe\uffff]|\p{Co}|\p{Cn}/u.test(value);
      seen.add(folded);
      return isNew;
    });
    const chosen = names.filter((_, index) => index % 7 === 0);
    for (const value of chosen) {
      await create(`n ${value}`.slice(0, 30), `${subject.quote(value)} ${subject.types.text}`).catch(() => undefined);
    }
    for (let from = 0; from < names.length; from += 60) {
      const wanted = names.slice(from, from + 60);
      const table = `odd.${from} "columns"`;
      await create(table, wanted.map((value) => `${subject.quote(value)} ${subject.types.text}`).join(", "));
      const values = wanted.map((value) => subject.literal(value)).join(", ");
      await subject.run(`INSERT INTO ${subject.quote(table)} VALUES (${values})`);
      const landing = await land({ stream: formatStreamName([subject.schema, table]) });
      expect(landing.plan.columns.map((column) => column.name)).toEqual(wanted);
      const [row] = await engine.query(`SELECT * FROM ${landing.relation}`);
      expect(row).toEqual(Object.fromEntries(wanted.map((value) => [value, value])));
    }
    let tables = 0;
    for await (const stream of source.streams()) {
      if (!stream.columns.some((column) => chosen.includes(column.name)) || stream.columns.length > 1) continue;
      const plan = await source.plan({ stream: stream.name }, {});
      expect(plan.columns).toEqual(stream.columns);
      tables++;
    }
    expect(tables).toBeGreaterThan(chosen.length / 2);
    const [sentinel] = await engine.query(`SELECT count(*) AS n FROM ${(await land({ stream: "sentinel" })).relation}`);
    expect(Number(sentinel!["n"])).toBe(0);
  });

  rule("an empty table gives no rows, and one row gives one", async () => {
    await create("small", `id ${subject.types.long}, v ${subject.types.text}`);
    const empty = await land({ stream: "small" });
    expect(empty.plan.parts).toHaveLength(1);
    expect(empty.read).toBe(0);
    expect((await source.plan({ stream: "small", cursor: "id" }, {})).parts).toEqual([]);
    await subject.run(`INSERT INTO small VALUES (1, 'one')`);
    expect(await rowsOf(await land({ stream: "small" }), "id, v")).toEqual(["1|one"]);
    expect(await rowsOf(await land({ query: "select v, id from small" }), "id, v")).toEqual(["1|one"]);
    expect(await rowsOf(await land({ stream: "small", columns: ["v"] }), "v")).toEqual(["one"]);
  });

  rule("many parts are together the table, each row once, though it changes meanwhile", async () => {
    await create("many", `n ${subject.types.long} PRIMARY KEY, t ${subject.types.text}`);
    await subject.run(`INSERT INTO many ${subject.generate(20_000)}`);
    const request: ReadRequest = { stream: "many", partBytes: 100_000 };
    const plan = await source.plan(request, {});
    expect(plan.parts.length).toBeGreaterThan(5);
    expect(plan.key).toEqual(["n"]);
    // None of this may be seen: the plan is of a moment.
    await subject.run(`UPDATE many SET t = 'changed' WHERE n <= 5000`);
    await subject.run(`DELETE FROM many WHERE n > 15000`);
    await subject.run(`INSERT INTO many VALUES (1000001, 'late')`);
    const numbers: string[] = [];
    for (const part of plan.parts) {
      const text = await textOf(source, part, request);
      for (const line of text.split("\n").filter(Boolean)) numbers.push(line);
      expect(text).not.toContain("changed");
    }
    expect(numbers).toHaveLength(20_000);
    expect(new Set(numbers).size).toBe(20_000);
    // The same part again gives the same records.
    expect(await textOf(source, plan.parts[1]!, request)).toBe(await textOf(source, plan.parts[1]!, request));
  });

  rule("reading on from every position loses nothing and repeats nothing", async () => {
    const request: ReadRequest = { stream: "grow", cursor: "at" };
    await create("grow", `id ${subject.types.long}, at ${subject.types.timestamp}, v ${subject.types.text}`);
    const moment = (second: number): string => `'2024-05-06 07:08:${String(second).padStart(2, "0")}.123456'`;
    // Many rows share a moment, rows with the last moment come later, and one row is there twice, to the letter.
    const steps: [id: number, second: number][][] = [
      [
        [1, 1],
        [2, 1],
        [3, 2],
      ],
      [[4, 2]],
      [],
      [
        [5, 2],
        [5, 2],
        [6, 2],
      ],
      [[5, 2]],
      [
        [7, 3],
        [8, 9],
      ],
      [
        [9, 9],
        [10, 9],
        [11, 10],
      ],
      [[12, 10]],
      [],
    ];
    const delivered: string[] = [];
    const expected: string[] = [];
    let after: Cursor | undefined;
    for (const step of steps) {
      for (const [id, second] of step) {
        await subject.run(`INSERT INTO grow VALUES (${id}, ${moment(second)}, 'row ${id}')`);
        expected.push(`${id}|2024-05-06 07:08:${String(second).padStart(2, "0")}.123456`);
      }
      const landing = await land(request, after);
      expect(landing.plan.overlap ?? false).toBe(false);
      if (step.length === 0) expect(landing.plan.parts).toEqual([]);
      delivered.push(...(await rowsOf(landing, 'id, "at"::VARCHAR')));
      expect(delivered.toSorted()).toEqual(expected.toSorted());
      after = JSON.parse(JSON.stringify(landing.plan.cursor)) as Cursor;
    }
    // A row that is changed but keeps its moment is new again.
    await subject.run(`UPDATE grow SET v = 'changed' WHERE id = 12`);
    expect(await rowsOf(await land(request, after), "id, v")).toEqual(["12|changed"]);
  });

  rule("a lag finds rows that were committed late", async () => {
    const request: ReadRequest = { stream: "late", cursor: "n", lag: 10 };
    await create("late", `n ${subject.types.long}, t ${subject.types.text}`);
    await subject.run("INSERT INTO late VALUES (100, 'a'), (200, 'b')");
    const first = await land(request);
    const again = await source.plan(request, { after: first.plan.cursor! });
    expect(again.parts).toEqual([]);
    await subject.run("INSERT INTO late VALUES (195, 'late'), (201, 'c')");
    const second = await land(request, first.plan.cursor);
    expect(second.plan.overlap).toBe(true);
    expect(await rowsOf(second, "n, t")).toEqual(["195|late", "200|b", "201|c"]);
  });

  rule("a row without a place in the order is not passed over in silence", async () => {
    await create("unplaced", `n ${subject.types.long}, t ${subject.types.text}`);
    await subject.run("INSERT INTO unplaced VALUES (1, 'a'), (NULL, 'b')");
    const error = await errorOf(() => source.plan({ stream: "unplaced", cursor: "n" }, {}));
    expect(error).toMatchObject({ code: "value", where: { column: "n" } });
    expect(error.hint).toContain("coalesce");
  });

  rule("wrong names say what is wrong and what was meant", async () => {
    await create("customers", `id ${subject.types.long}, email ${subject.types.text}`);
    const table = await errorOf(() => source.plan({ stream: "custmers" }, {}));
    expect(table).toMatchObject({ code: "not-found" });
    expect(table.hint).toContain("customers");
    const column = await errorOf(() => source.plan({ stream: "customers", columns: ["emial"] }, {}));
    expect(column).toMatchObject({ code: "not-found", where: { column: "emial" } });
    expect(column.hint).toContain("email");
    const query = await errorOf(() => source.plan({ query: "select frm customers" }, {}));
    expect(["config", "not-found"]).toContain(query.code);
    const long = await errorOf(() => source.plan({ stream: "x".repeat(200) }, {}));
    expect(["config", "not-found"]).toContain(long.code);
    const cursor = await errorOf(() => source.plan({ stream: "customers", cursor: "updated" }, {}));
    expect(cursor.code).toBe("not-found");
  });

  rule("an abort reaches the server within a second", async () => {
    const request: ReadRequest = { query: subject.slow };
    const plan = await source.plan(request, {});
    const controller = new AbortController();
    const reading = errorOf(() => textOf(source, plan.parts[0]!, request, controller.signal));
    await until(async () => (await subject.connections()).busy > 0);
    const started = performance.now();
    controller.abort();
    expect((await reading).code).toBe("aborted");
    await until(async () => (await subject.connections()).busy === 0);
    expect(performance.now() - started).toBeLessThan(1_500);
  });

  rule("a read that is left in the middle gives its connection back", async () => {
    const request: ReadRequest = { query: subject.generate(2_000_000) };
    const plan = await source.plan(request, {});
    for (let time = 0; time < 5; time++) {
      const payload = await source.read(plan.parts[0]!, request, {});
      if (payload.form !== "bytes") throw new Error("a SQL source gives bytes");
      for await (const chunk of payload.chunks) {
        expect(chunk.byteLength).toBeGreaterThan(0);
        break;
      }
    }
    await until(async () => (await subject.connections()).busy === 0);
  });

  rule("a server that goes away in the middle of a read is an error, and the run can be planned anew", async () => {
    await using own = await open();
    const request: ReadRequest = { query: subject.generate(3_000_000) };
    const plan = await own.plan(request, {});
    const payload = await own.read(plan.parts[0]!, request, {});
    if (payload.form !== "bytes") throw new Error("a SQL source gives bytes");
    let chunks = 0;
    const error = await errorOf(async () => {
      for await (const chunk of payload.chunks) {
        if (chunks++ === 0) await subject.restart();
        expect(chunk.byteLength).toBeGreaterThan(0);
      }
    });
    expect(error).toMatchObject({ code: "unreachable", temporary: true });
    const gone = await errorOf(() => textOf(own, plan.parts[0]!, request));
    expect(gone.code).toBe("conflict");
    const small: ReadRequest = { query: subject.generate(3) };
    const anew = await own.plan(small, {});
    expect((await textOf(own, anew.parts[0]!, small)).trim().split("\n")).toHaveLength(3);
    await source[Symbol.asyncDispose]();
    source = await open();
  });

  rule("a part is also read by another process, as long as the plan is held", async () => {
    await create("shared", `n ${subject.types.long}, t ${subject.types.text}`);
    await subject.run(`INSERT INTO shared ${subject.generate(100)}`);
    const request: ReadRequest = { stream: "shared" };
    const first = await open();
    const plan = await first.plan(request, {});
    await using second = await open();
    await subject.run("DELETE FROM shared");
    const outcome = await textOf(second, plan.parts[0]!, request).catch((error: unknown) => error);
    // Either the same moment, or a clear refusal; never another moment.
    if (typeof outcome === "string") expect(outcome.trim().split("\n")).toHaveLength(100);
    else expect(outcome).toMatchObject({ code: "conflict" });
    await first[Symbol.asyncDispose]();
    expect((await errorOf(() => textOf(second, plan.parts[0]!, request))).code).toBe("conflict");
  });

  rule("no connection is left behind", async () => {
    // Counted from none: a connection of an earlier rule that ends only now would be taken for one of ours.
    await source[Symbol.asyncDispose]();
    await until(async () => (await subject.connections()).all === 0);
    const own = await open();
    await own.check();
    const plan = await own.plan({ stream: "many" }, {});
    await textOf(own, plan.parts[0]!, { stream: "many" });
    expect((await subject.connections()).all).toBeGreaterThan(0);
    await own[Symbol.asyncDispose]();
    await until(async () => (await subject.connections()).all === 0);
    source = await open();
  });

  return {
    async start() {
      subject = await contract.start();
      folder = await mkdtemp(join(tmpdir(), "millrace-contract-"));
      engine = await openEngine({ spillFolder: join(folder, "spill"), allowed: [folder], memoryLimit: "400MB" });
      source = await open();
    },
    async stop() {
      await source[Symbol.asyncDispose]();
      await engine[Symbol.asyncDispose]();
      await subject[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** The subject as the rules of every source want it: a table is a stream, read by its column `id`. */
function plainSubject(subject: SqlSubject): SourceSubject {
  const append = async (name: string, rows: readonly SourceRow[]): Promise<void> => {
    for (let from = 0; from < rows.length; from += 500) {
      const values = rows.slice(from, from + 500).map(({ id, text }) => `(${id}, ${subject.literal(text)})`);
      await subject.run(`INSERT INTO ${subject.quote(name)} VALUES ${values.join(", ")}`);
    }
  };
  return {
    options: subject.options,
    secrets: [subject.secret],
    wrong: subject.wrong,
    append,
    async create(name, rows) {
      const { long, text } = subject.types;
      await subject.run(`CREATE TABLE ${subject.quote(name)} (id ${long}, ${subject.quote("text")} ${text})`);
      await append(name, rows);
      return { stream: formatStreamName([subject.schema, name]), cursor: "id" };
    },
    takesName: (name) =>
      name.trim() === name &&
      Buffer.byteLength(name) <= subject.nameBytes &&
      (subject.takesName?.(name) ?? true) &&
      !/[\ufffe\uffff]|\p{Co}|\p{Cn}/u.test(name),
    [Symbol.asyncDispose]: async () => undefined,
  };
}

async function openSource(
  definition: SourceDefinition,
  options: Record<string, unknown>,
  engine: Engine,
): Promise<Source> {
  const driver = await definition.load();
  return driver.open(definition.options.parse(options), { connection: "shop", folder: tmpdir(), engine });
}

function assignFields(columns: readonly Column[]): { columns: Column[] } {
  return { columns: assignFieldIds(columns) };
}

/** The text of one part, by way of JSON, as a run keeps it. */
export async function textOf(
  source: Source,
  part: Plan["parts"][number],
  request: ReadRequest,
  signal?: AbortSignal,
): Promise<string> {
  const kept = JSON.parse(JSON.stringify(part)) as typeof part;
  const payload = await source.read(kept, request, signal === undefined ? {} : { signal });
  if (payload.form !== "bytes") throw new Error("a SQL source gives bytes");
  const chunks: Uint8Array[] = [];
  for await (const chunk of payload.chunks) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}
