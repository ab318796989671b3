import { existsSync } from "node:fs";
import {
  MillraceError,
  suggestion,
  throwIfAborted,
  type Column,
  type Cursor,
  type Part,
  type Payload,
  type Plan,
  type ReadRequest,
  type RejectedRecord,
  type Source,
  type SourceContext,
} from "../../core/index.ts";
import { openInbox, type InboxDamage, type InboxReader, type InboxRow } from "../../inbox/index.ts";
import { openIds, type IdIndex } from "./ids.ts";
import { inboxFolder, type CollectedOptions } from "./options.ts";
import type { CollectedKind, CollectedRow, Meta } from "./records.ts";

/** Parts of one plan. */
const mostParts = 1_000;
/** A request of nothing but commas must not become a hundred thousand rejected records: so many of one are told of, and then how many more. */
const rejectedOfOne = 1_000;
const rejectedOfMany = { after: 50_000, ofOne: 10 };
/** A chunk of lines for the engine. */
const chunkBytes = 256 * 1024;

/** A source whose rows wait in an inbox. Its position is the number of the last row that was read. */
export function openCollected(kind: CollectedKind, options: CollectedOptions, context: SourceContext): Source {
  const folder = inboxFolder(options, context);
  let opened: InboxReader | undefined;
  const inbox = (): InboxReader => (opened ??= openInbox(folder));
  let index: IdIndex | undefined;
  const ids = (): IdIndex => (index ??= openIds(folder, kind.remembersMs!));

  const assertStream = ({ stream, query }: ReadRequest): void => {
    if (query !== undefined) {
      throw new MillraceError("unsupported", "what was sent has no query language", {
        hint: "use `transform` to select from it",
      });
    }
    if (stream === undefined || stream === "*" || kind.senders.includes(stream)) return;
    throw new MillraceError("not-found", `nobody sends as \`${stream}\``, {
      where: { connection: context.connection, stream },
      hint: `${suggestion(stream, kind.senders)}; without \`stream\` all are read`,
    });
  };

  /** Ids of rows up to `last` are in the index before any of these rows is read. */
  function* idsUpTo(last: number, signal: AbortSignal | undefined) {
    for (const rows of inbox().rows(Math.max(ids().upTo() + 1, inbox().first()), last)) {
      throwIfAborted(signal);
      for (const row of rows) {
        if ("problem" in row) continue;
        const found = [...kind.records(collectedRow(row))].map(({ id }) => id);
        yield { number: row.number, received: row.received, sender: row.topic, ids: found };
      }
    }
  }

  return {
    async check(signal) {
      throwIfAborted(signal);
      if (existsSync(folder)) inbox().last();
    },

    async *streams(signal) {
      throwIfAborted(signal);
      for (const name of kind.senders)
        yield { name, columns: [...kind.columns], key: [], cursors: [], kind: "endpoint" as const };
    },

    async plan(request, { after, signal, peek }): Promise<Plan> {
      throwIfAborted(signal);
      assertStream(request);
      const columns = chosen(kind.columns, request.columns);
      const done = positionOf(after);
      if (!existsSync(folder))
        return { columns, key: [], parts: [], ...(after === undefined ? {} : { cursor: after }) };
      if (peek !== true && after !== undefined) await release(request, done);
      // A flow that is new begins with what is there; one that goes on is told when rows that it has not read are gone.
      const first = after === undefined ? inbox().first() : done + 1;
      const last = Math.min(inbox().last(), first - 1 + (options.max_requests ?? Infinity));
      if (peek !== true && kind.remembersMs !== undefined) ids().take(idsUpTo(last, signal), last);
      const parts: Part[] = [];
      // Numbers of rows may have gaps.
      const size = Math.max(options.part_requests, Math.ceil((last - first + 1) / mostParts));
      for (let from = first; from <= last; from += size) {
        const to = Math.min(last, from + size - 1);
        parts.push({ id: `rows-${String(from).padStart(12, "0")}`, spec: { from, to } });
      }
      return { columns, key: [], parts, cursor: { row: Math.max(done, last) } };
    },

    async read(part, request, { signal }): Promise<Payload> {
      throwIfAborted(signal);
      assertStream(request);
      const columns = chosen(kind.columns, request.columns);
      const places = columns.map(({ name }) => kind.columns.findIndex((column) => column.name === name));
      const [from, to] = [Number(part.spec["from"]), Number(part.spec["to"])];
      const known = kind.remembersMs === undefined ? new Set<string>() : ids().duplicates(from, to);
      const wanted = request.stream === undefined || request.stream === "*" ? undefined : request.stream;
      const rejected: RejectedRecord[] = [];
      let written = 0;
      const lineOf = lineWriter(columns, places);
      const origin = (row: number, place?: number): string =>
        `${context.connection} request ${row}${place === undefined ? "" : `, record ${place}`}`;
      const linesOf = (row: InboxRow | InboxDamage): string => {
        if ("problem" in row) {
          rejected.push({ reason: row.problem, origin: origin(row.number), record: "" });
          return "";
        }
        if (wanted !== undefined && row.topic !== wanted) return "";
        let lines = "";
        let place = 0;
        let [bad, more] = [0, 0];
        for (const record of kind.records(collectedRow(row))) {
          const at = place++;
          if (known.has(`${row.number}:${at}`)) continue;
          if ("reason" in record) {
            const { reason, record: text } = record;
            const most = rejected.length < rejectedOfMany.after ? rejectedOfOne : rejectedOfMany.ofOne;
            if (++bad <= most) rejected.push({ reason, record: text, origin: origin(row.number, at) });
            else more++;
          } else if (record.isLeftOut !== true) {
            written++;
            lines += lineOf(record.values, row, at);
          }
        }
        if (more > 0) {
          const reason = `${more} more records of this request cannot be read`;
          rejected.push({ reason, origin: origin(row.number), record: "" });
        }
        return lines;
      };
      return {
        form: "bytes",
        format: "ndjson",
        columns,
        chunks: (async function* () {
          let text = "";
          for (const rows of inbox().rows(from, to)) {
            throwIfAborted(signal);
            for (const row of rows) {
              text += linesOf(row);
              if (text.length < chunkBytes) continue;
              yield Buffer.from(text);
              throwIfAborted(signal);
              text = "";
            }
          }
          if (text !== "") yield Buffer.from(text);
        })(),
        rows: () => written + rejected.length,
        rejected: () => rejected,
      };
    },

    async wait(_request, { after, signal, milliseconds }) {
      return inbox().wait(positionOf(after), { milliseconds, ...(signal === undefined ? {} : { signal }) });
    },

    lag: async (_request, { after }) => inbox().lag(positionOf(after)),

    async [Symbol.asyncDispose]() {
      index?.close();
      await opened?.[Symbol.asyncDispose]();
      index = opened = undefined;
    },
  };

  /** What this flow, and all others that read the connection, have in a version may go. */
  async function release({ flow, readers }: ReadRequest, row: number): Promise<void> {
    if (flow === undefined || readers === undefined) return;
    await inbox().committed(flow, row, { readers, keepMs: options.keep_hours * 3_600_000 });
    if (kind.remembersMs !== undefined) ids().forget(inbox().first());
  }
}

function positionOf(after: Cursor | undefined): number {
  if (after === undefined) return 0;
  const row = after["row"];
  if (typeof row === "number" && Number.isSafeInteger(row) && row >= 0) return row;
  throw new MillraceError("conflict", "the position in the dataset is none of an inbox", {
    hint: "run once with `--full`, or write into another dataset",
  });
}

function collectedRow({ number, received, topic, meta, body }: InboxRow): CollectedRow {
  return {
    number,
    received,
    sender: topic,
    meta: JSON.parse(meta) as Meta,
    body: Buffer.from(body.buffer, body.byteOffset, body.byteLength),
  };
}

/** Throws `not-found` for columns that are not there. */
function chosen(all: readonly Column[], columns: readonly string[] | undefined): Column[] {
  if (columns === undefined) return [...all];
  return columns.map((name) => {
    const found = all.find((column) => column.name === name);
    if (found !== undefined) return found;
    throw new MillraceError("not-found", `there is no column \`${name}\``, {
      where: { column: name },
      hint: suggestion(
        name,
        all.map((column) => column.name),
      ),
    });
  });
}

/** The last three columns are where the record stands; its kind gives the others. */
function lineWriter(
  columns: readonly Column[],
  places: readonly number[],
): (values: readonly string[], row: InboxRow, index: number) => string {
  const starts = columns.map(({ name }, at) => `${at === 0 ? "{" : ","}${JSON.stringify(name)}:`);
  return (values, row, index) => {
    let line = "";
    for (let at = 0; at < places.length; at++) {
      const place = places[at]! - values.length;
      const value =
        place < 0
          ? values[places[at]!]!
          : place === 0
            ? JSON.stringify(row.topic)
            : String(place === 1 ? row.number : index);
      line += starts[at]! + value;
    }
    return `${line}}\n`;
  };
}
