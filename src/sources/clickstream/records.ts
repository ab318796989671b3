import { isUtf8 } from "node:buffer";
import { isMillraceError, parseDuration } from "../../core/index.ts";
import {
  checkedJson,
  rejected,
  type CollectedKind,
  type CollectedRecord,
  type CollectedRow,
} from "../collected/index.ts";
import { columns } from "./events.ts";
import { ga4Records } from "./ga4.ts";
import type { Options } from "./options.ts";
import { segmentRecords } from "./segment.ts";
import { snowplowRecords } from "./snowplow.ts";

/** What requests of the three protocols hold. */
export function clickstreamKind(options: Options): CollectedKind {
  return {
    columns,
    senders: Object.keys(options.keys),
    remembersMs: parseDuration(options.remember)! * 1000,
    *records(row) {
      const text = row.body.toString();
      if (!isUtf8(row.body)) {
        yield rejected("the request is not UTF-8", text);
        return;
      }
      try {
        yield* recordsOf(text, row, options);
      } catch (error) {
        if (!isMillraceError(error)) throw error;
        yield rejected(`the request cannot be read: ${error.message}`, text);
      }
    },
  };
}

function recordsOf(text: string, row: CollectedRow, options: Options): Iterable<CollectedRecord> {
  switch (row.meta["protocol"]) {
    case "snowplow":
      return snowplowRecords(text, row, options);
    case "ga4":
      return ga4Records(text, checkedJson(text), row, options);
    default:
      return segmentRecords(text, checkedJson(text), row, options);
  }
}
