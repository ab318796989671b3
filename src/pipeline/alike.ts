import { sqlName, sqlString, type Alike, type AlikeQuestion, type CheckContext, type Sql } from "../core/index.ts";
import type { Dataset } from "../dataset/index.ts";
import { findAlike, identityOf, type EarlierRows } from "../feed/alike.ts";
import { originOf } from "../feed/near-checks.ts";
import { NearFiles, type NearEngine, type NearPlace } from "../feed/near.ts";
import { earlierRows } from "../feed/signatures.ts";

const nothing =
  "(SELECT NULL AS millrace_value, ''::VARCHAR AS millrace_like, false AS millrace_known, false AS millrace_whole WHERE false)";

/**
 * What checks ask of rows that are alike while they are planned, and what was found for it. Found rows lie in files that go with this,
 * so it lives as long as the SQL of the checks is used.
 */
export class AlikeRows implements AsyncDisposable {
  readonly #asked = new Map<string, { question: AlikeQuestion; found: Sql }>();
  readonly #files: NearFiles;
  readonly #engine: NearEngine;
  readonly #place: NearPlace;

  constructor(engine: NearEngine, place: NearPlace) {
    this.#files = new NearFiles(engine, place);
    this.#engine = engine;
    this.#place = place;
  }

  /** For `CheckContext.alike`. */
  readonly alike = (question: AlikeQuestion): Alike => {
    const key = JSON.stringify(question);
    let asked = this.#asked.get(key);
    if (asked === undefined) this.#asked.set(key, (asked = { question, found: nothing }));
    return { value: identityOf(question), found: asked.found };
  };

  get isAsked(): boolean {
    return this.#asked.size > 0;
  }

  /**
   * Looks for what was asked so far, question by question. `rows` gives a FROM item with the rows that stay by all that is known when it is called,
   * so that no row goes because of one that goes itself.
   */
  async search(rows: () => Sql, origin: Sql, earlier?: EarlierRows): Promise<void> {
    for (const asked of this.#asked.values()) {
      const request = { ...this.#place, relation: rows(), question: asked.question, origin };
      const known = asked.question.previous && earlier !== undefined ? { earlier } : {};
      asked.found = await findAlike(this.#files, { ...request, ...known }, this.#engine);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#files[Symbol.asyncDispose]();
  }
}

/** How people find a row again that another one is like: by key, or by the address of an asset. */
export function originOfRows({ key, columns }: Pick<CheckContext, "key" | "columns">): Sql {
  const isAsset = columns.some(({ name }) => name === "uri");
  return key.length === 0 && isAsset
    ? `coalesce(${sqlName("uri")}, ${sqlString("a row without an address")})`
    : originOf(key, false);
}

/** The rows that a dataset has before a run. Those that a merge replaces are like none. */
export async function earlierOf(
  context: CheckContext,
  dataset: Dataset,
  rows: Sql,
  place: NearPlace,
  engine: NearEngine,
): Promise<EarlierRows> {
  const columns = dataset.columns();
  const key = context.key.every((name) => columns.some((column) => column.name === name)) ? context.key : [];
  const replaced = context.mode === "merge" && key.length > 0 ? { replaced: { key, rows } } : {};
  return await earlierRows({ ...place, dataset, origin: originOfRows({ key, columns }), ...replaced }, engine);
}
