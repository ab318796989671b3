import type * as z from "zod";
import type { Format, Inferred } from "../../core/index.ts";
import type { tsvOptions } from "../delimited-options.ts";
import { openDelimited } from "../delimited.ts";

export function open(options: z.output<typeof tsvOptions>): Format {
  const format = openDelimited({ ...options, delimiter: "\t" }, "FORMAT csv, HEADER, DELIMITER '\t'");
  const native = format.native!;
  return {
    ...format,
    native: {
      ...native,
      async infer(file, engine): Promise<Inferred> {
        const { columns, options: found } = await native.infer!(file, engine);
        const { delimiter: _, ...rest } = found;
        return { columns, options: rest };
      },
    },
  };
}
