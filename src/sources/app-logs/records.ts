import { isUtf8 } from "node:buffer";
import { isMillraceError, parseDuration } from "../../core/index.ts";
import {
  checkedJson,
  rejected,
  type CollectedKind,
  type CollectedRecord,
  type CollectedRow,
} from "../collected/index.ts";
import { columns } from "./log.ts";
import { ndjsonRecords } from "./ndjson.ts";
import type { Options } from "./options.ts";
import { otlpRecords } from "./otlp.ts";
import { otlpJson } from "./protobuf.ts";

export function appLogsKind(options: Options): CollectedKind {
  return {
    columns,
    senders: Object.keys(options.keys),
    remembersMs: parseDuration(options.remember)! * 1000,
    *records(row) {
      const isBinary = row.meta["type"] === "application/x-protobuf";
      const shown = isBinary ? row.body.toString("base64") : row.body.toString();
      if (!isBinary && !isUtf8(row.body)) {
        yield rejected("the batch is not UTF-8", shown);
        return;
      }
      let text = shown;
      if (isBinary) {
        try {
          text = otlpJson(row.body);
        } catch {
          yield rejected("the batch is no `ExportLogsServiceRequest`", shown);
          return;
        }
      }
      try {
        yield* recordsOf(text, row, options);
      } catch (error) {
        if (!isMillraceError(error)) throw error;
        yield rejected(`the batch cannot be read: ${error.message}`, shown);
      }
    },
  };
}

const recordsOf = (text: string, row: CollectedRow, options: Options): Iterable<CollectedRecord> =>
  row.meta["otlp"] === true ? otlpRecords(text, checkedJson(text), row, options) : ndjsonRecords(text, row, options);
