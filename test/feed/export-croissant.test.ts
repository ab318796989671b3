import { join } from "node:path";
import { expect, test } from "vitest";
import { published } from "../pipeline/place.ts";
import { readers, readWith } from "./export/readers.ts";
import { makeSubject } from "./export/subject.ts";

interface Validated {
  version: string;
  errors: string[];
  warnings: string[];
  sets: string[];
  rows?: number;
}

test(
  "the descriptions of all formats validate, and the records of Parquet, CSV and JSON lines are read by them",
  { timeout: 600_000 },
  async () => {
    const python = await readers();
    await using subject = await makeSubject(300);
    const { lake, place } = subject;
    const paths: string[] = [];
    for (const format of ["parquet", "csv", "tsv", "jsonl", "json", "arrow", "webdataset", "mds", "tfrecord"]) {
      for (const split of [undefined, ["train", "test"]]) {
        const to = subject.at(`${format}-${split ? "splits" : "all"}`);
        await lake.export("t", { format, to, ...(split && { split, shardBytes: 20_000 }) });
        paths.push(join(to, "croissant.json"));
      }
    }
    const report = JSON.parse(await readWith(python, "read_croissant.py", subject.source, ...paths)) as Record<
      string,
      Validated
    >;
    for (const path of paths) {
      const { version, errors, warnings, sets } = report[path]!;
      expect([version, errors], path).toEqual(["http://mlcommons.org/croissant/1.1", []]);
      // What only the owner knows, and nothing else.
      expect(warnings.map((text) => String(/\/(\w+)" is recommended/.exec(text)?.[1])).toSorted(), path).toEqual([
        "citeAs",
        "license",
      ]);
      expect(sets).toEqual(path.includes("splits") ? ["splits", "rows"] : ["rows"]);
    }

    // Pandas, by which it reads, keeps these as they are.
    await using engine = await place.engine();
    const plain = `SELECT i::BIGINT + 9007199254740993 AS id, i::INTEGER AS n, (i / 7)::DOUBLE AS f, i % 2 = 0 AS b,
      CASE WHEN i % 5 = 0 THEN NULL ELSE 'ö "' || i || E'"\\n,' END AS "a text", TIMESTAMP '2024-01-01 00:00:00.000001' + INTERVAL (i) HOUR AS moment
    FROM range(400) t(i)`;
    await engine.export(plain, subject.at("plain.parquet"), "FORMAT parquet");
    const about = {
      description: "Numbers",
      license: "CC0-1.0",
      citation: "@misc{numbers}",
      url: "https://example.org",
      creators: ["A"],
    };
    await using other = await place.open({ plain: { from: { path: "plain.parquet" }, about } });
    await published(other.run("plain"));
    const readable: string[] = [];
    for (const format of ["parquet", "csv", "jsonl"]) {
      for (const shardBytes of [undefined, 4000]) {
        const to = subject.at(`plain-${format}-${shardBytes ?? "one"}`);
        await other.export("plain", { format, to, ...(shardBytes && { shardBytes }) });
        readable.push(join(to, "croissant.json"));
      }
    }
    const read = JSON.parse(
      await readWith(
        python,
        "read_croissant.py",
        subject.at("plain.parquet"),
        ...readable.map((path) => `rows:${path}`),
      ),
    ) as Record<string, Validated>;
    for (const path of readable) expect(read[path], path).toMatchObject({ errors: [], warnings: [], rows: 400 });
  },
);
