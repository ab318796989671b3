import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "vitest";
import { systemCode } from "../../src/core/index.ts";
import { decodeAvro } from "../../src/dataset/iceberg/avro.ts";
import type { Lake } from "../../src/pipeline/index.ts";
import { query } from "../dataset/helpers.ts";
import { type Place, rowsOf } from "../pipeline/place.ts";

/** Values of one person, found by looking for any of them. Alphabetically first and last, so that they are bounds everywhere. */
export const canaries = ["AAAcanary@person.example", "zzzCanary Person", "1234567890123"];
export const columns = "id,email,name,phone,amount";
export const person = (id: number): string => `${id},${canaries[0]},${canaries[1]},${canaries[2]},${id * 1.5}`;
export const other = (id: number): string => `${id},u${id}@other.example,name ${id},${5000 + id},${id * 1.5}`;

export const flow = {
  from: { path: "in/*.csv" },
  key: ["id"],
  checks: [
    { check: "range", column: "amount", min: 0, on_fail: "reject" },
    { check: "range", column: "phone", max: 9000, on_fail: "warn" },
  ],
};

/** Versions 1 to 5 by append, compaction and a changed schema; the person is in some files, is rejected once, and is unreadable once. */
export async function lakeWithPerson(place: Place, sections: Record<string, unknown> = {}): Promise<Lake> {
  const open = (): Promise<Lake> => place.open({ people: flow }, { sections });
  const run = async (): Promise<void> => {
    await using lake = await open();
    expect((await lake.run("people")).status).toBe("published");
  };
  await place.put("in/a.csv", [columns, ...range(0, 40).map(other), person(1000)]);
  await run();
  await place.put("in/b.csv", [columns, ...range(100, 140).map(other)]);
  await run();
  await place.put("in/c.csv", [
    columns,
    ...range(200, 240).map(other),
    person(2000),
    person(-3).replace("-4.5", "-1"),
    `broken,"${canaries[0]}`,
  ]);
  await run();
  const lake = await open();
  await lake.tag("people@1", "gold");
  await lake.compact("people");
  await place.put("in/d.csv", [
    `${columns},extra`,
    ...range(300, 320).map((id) => `${other(id)},x`),
    `${person(4000)},y`,
  ]);
  await lake.run("people");
  return lake;
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, index) => from + index);

/** Files below the folder that hold a canary, decoded where they are Parquet or Avro, by what is in them. */
export async function filesWithCanaries(root: string): Promise<string[]> {
  const found: string[] = [];
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const bytes = await readFile(path).catch((error: unknown) => {
      // A file that was on its way to its name.
      if (systemCode(error) === "ENOENT") return undefined;
      throw error;
    });
    if (bytes === undefined) continue;
    let text = bytes.toString("latin1");
    if (text.startsWith("PAR1")) {
      text += JSON.stringify(await query(`SELECT * FROM read_parquet('${path}')`));
      text += JSON.stringify(await query(`SELECT * FROM parquet_metadata('${path}')`));
    } else if (text.startsWith("Obj\u0001")) {
      text += JSON.stringify(decodeAvro(bytes, new Map(), path), (_key, value: unknown) => {
        const buffer = value as { type?: string; data?: number[] } | null;
        if (buffer?.type !== "Buffer") return typeof value === "bigint" ? String(value) : value;
        const data = Buffer.from(buffer.data!);
        return `${data.toString("latin1")} ${data.length === 8 ? data.readBigInt64LE() : ""}`;
      });
    }
    // Bounds of text are cut at 16 characters.
    if (canaries.some((canary) => text.includes(canary.slice(0, 13)))) found.push(path.slice(root.length + 1));
  }
  return found.sort();
}

export const where = `email = '${canaries[0]}'`;

/** The rows of each of these versions. */
export async function rowsByVersion(lake: Lake, numbers: readonly number[], tail = ""): Promise<unknown[]> {
  const rows = [];
  for (const number of numbers) rows.push(await rowsOf(lake, `SELECT * FROM "people@${number}" ${tail} ORDER BY id`));
  return rows;
}
