/** A safety mechanism taken out of one module. */
export interface Mutant {
  /** Below `src/`. */
  file: string;
  /** Pieces of its source, each there exactly once, and what stands there instead. */
  edits: readonly (readonly [find: string, replace: string])[];
  /** What is missing, for the report. */
  without: string;
}

export const mutants = {
  "acknowledged-before-published": {
    file: "dataset/iceberg/log.ts",
    edits: [
      [
        "if (!(await create(store, path, encodeMetadata(metadata), commit))) return undefined;",
        "setTimeout(() => void create(store, path, encodeMetadata(metadata), commit), 5);",
      ],
    ],
    without: "a commit is acknowledged after its metadata file is durable",
  },
  "manifests-after-metadata": {
    file: "dataset/commit.ts",
    edits: [
      [
        "await Promise.all([\n    table.store.write(listPath",
        "writeLater = () => Promise.all([\n    table.store.write(listPath",
      ],
      ["const version = table.versionOf(outcome", "await writeLater();\n  const version = table.versionOf(outcome"],
      ["function validate(", "let writeLater: () => Promise<unknown> = async () => undefined;\nfunction validate("],
    ],
    without: "what a version names is written before the version",
  },
  "run-not-recognised": {
    file: "dataset/commit.ts",
    edits: [["if (runId === undefined) return undefined;", "if (runId !== null) return undefined;"]],
    without: "a run that was committed is recognised by its id",
  },
  "position-ahead-of-data": {
    file: "pipeline/publish.ts",
    edits: [
      [
        "const version = await dataset.commit({",
        "await dataset.commit({ operation: 'append', add: [], summary: { [`millrace.cursor.${plan.flow}`]: " +
          "JSON.stringify({ run: plan.sequence + 1, position: plan.cursor }) } });\n      const version = await dataset.commit({",
      ],
    ],
    without: "the position moves in the same commit as the data",
  },
  "folder-not-synced": {
    file: "stores/fs/files.ts",
    edits: [
      [
        "const descriptor = openSync(folder, constants.O_RDONLY);\n  try {\n    await fsyncLater(descriptor);",
        "const descriptor = openSync(folder, constants.O_RDONLY);\n  try {",
      ],
    ],
    without: "a folder is fsynced after a name was made in it",
  },
  "file-not-synced": {
    file: "stores/fs/files.ts",
    edits: [["if (durable) await fsyncLater(descriptor);", "void durable;"]],
    without: "a file is fsynced before it gets its name",
  },
  "fsync-errors-overlooked": {
    file: "stores/fs/files.ts",
    edits: [
      [
        "const fsyncLater = promisify(fsync);",
        "const fsyncLater = (descriptor: number) => promisify(fsync)(descriptor).catch(() => undefined);",
      ],
    ],
    without: "an fsync that failed fails the write",
  },
  "end-of-postgres": {
    file: "protocols/postgres/copy-out.ts",
    edits: [
      [
        "if (this.#error !== undefined) throw this.#error;",
        "if (this.#error !== undefined) {\n this.rows = this.seen;\n return undefined;\n}",
      ],
      [
        "const chunk = this.#waiting.shift()!;",
        "const chunk = this.#waiting.shift()!;\n    this.seen += chunk.toString('latin1').split('\\n').length - 1;",
      ],
      ["  readonly #text: string;", "  seen = 0;\n  readonly #text: string;"],
    ],
    without: "rows of PostgreSQL end where the server says so, not where the connection does",
  },
  "end-of-mysql": {
    file: "protocols/mysql/wire.ts",
    edits: [
      ["if (this.#error !== undefined) throw this.#error;", "if (this.#error !== undefined) return undefined;"],
      ["if (this.#error === undefined) this.#writer.end();", "this.#writer.end();"],
    ],
    without: "rows of MySQL end where the server says so, not where the connection does",
  },
  "writes-cut-short": {
    file: "stores/fs/files.ts",
    edits: [
      [
        "done += writeSync(descriptor, bytes, done, Math.min(bytes.length - done, smallBytes));",
        "try {\n done += writeSync(descriptor, bytes, done, Math.min(bytes.length - done, smallBytes));\n} catch {\n break;\n}",
      ],
    ],
    without: "a write that a full disk refuses fails",
  },
  "silence-of-postgres": {
    file: "protocols/postgres/copy-read.ts",
    edits: [
      [
        "setTimeout(() => copy.fail(tooQuiet(settings)), settings.readTimeoutMs)",
        "setTimeout(() => tooQuiet(settings), 1)",
      ],
    ],
    without: "a PostgreSQL server that stands still is noticed",
  },
  "silence-of-mysql": {
    file: "protocols/mysql/session.ts",
    edits: [["if (result.packets === heard) {", "if (result.packets < 0) {"]],
    without: "a MySQL server that stands still is noticed",
  },
  "s3-unconditional": {
    file: "stores/s3/write.ts",
    edits: [['...(ifAbsent && { IfNoneMatch: "*" }),', "...(ifAbsent && {}),"]],
    without: "a commit to a bucket is a conditional create",
  },
  "commit-taken-for-done": {
    file: "sinks/postgres/driver.ts",
    edits: [["if (isPublished(now, version, request)) return { status", "if (now !== null) return { status"]],
    without: "a commit whose answer was lost is looked for before it is called done",
  },
  "silence-of-sink": {
    file: "sinks/postgres/copy-in.ts",
    edits: [["}, milliseconds);", "}, milliseconds * 1000);"]],
    without: "a PostgreSQL server that takes nothing of a copy is noticed",
  },
  "order-unsaid": {
    file: "feed/feed.ts",
    edits: [["order: digestOf([opened.map(", "order: digestOf([0] ?? [opened.map("]],
    without: "a feed says which order it has, so that no client goes on in another",
  },
  "gc-ignores-runs": {
    file: "pipeline/gc.ts",
    edits: [["protect: (path) => belongsToRun(path) ||", "protect: (path) => belongsToRun(path) === undefined ||"]],
    without: "gc spares the files of runs that are going on",
  },
} as const satisfies Record<string, Mutant>;

export type MutantName = keyof typeof mutants;
