import * as z from "zod";
import { defineFormat } from "../../core/index.ts";

export const avroOptions = z.strictObject({});

export default defineFormat({
  name: "avro",
  title: "Apache Avro",
  summary:
    "Avro object container files with their logical types, plain or with deflate, snappy, zstandard or bzip2, read in a child process.",
  options: avroOptions,
  extensions: ["avro"],
  mediaTypes: ["application/avro", "avro/binary"],
  needs: [],
  capabilities: { read: true, write: false, rejects: true },
  examples: [{ title: "A folder of files", yaml: "from:\n  path: events/*.avro" }],
  load: () => import("./driver.ts"),
});
