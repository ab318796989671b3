import * as z from "zod";
import { defineFormat } from "../../core/index.ts";

export const arrowOptions = z.strictObject({});

export default defineFormat({
  name: "arrow",
  title: "Apache Arrow IPC",
  summary: "Arrow files (Feather 2) and streams, plain or compressed with zstd or LZ4, read in a child process.",
  options: arrowOptions,
  extensions: ["arrow", "arrows", "feather", "ipc"],
  mediaTypes: ["application/vnd.apache.arrow.file", "application/vnd.apache.arrow.stream"],
  needs: [],
  capabilities: { read: true, write: false, rejects: true },
  examples: [{ title: "One file", yaml: "from:\n  path: flights.arrow" }],
  load: () => import("./driver.ts"),
});
