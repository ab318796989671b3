import { execFile } from "node:child_process";
import { availableParallelism } from "node:os";
import { promisify } from "node:util";
import {
  forEachLimited,
  isMillraceError,
  MillraceError,
  sniffMediaType,
  throwIfAborted,
  type Column,
  type Enriched,
  type Enricher,
  type EnricherInput,
} from "../../core/index.ts";
import { findPrograms, runInSandbox } from "../../sandbox/index.ts";
import { withFile } from "../shared/scratch.ts";
import type { OcrOptions } from "./index.ts";
import type { PageText } from "./read.ts";

const run = promisify(execFile);

/** Source when this runs from source, JavaScript when it runs from the build. */
const module = new URL(import.meta.url.endsWith(".ts") ? "./read.ts" : "./read.js", import.meta.url);

const readable = new Set([
  "image/png",
  "image/jpeg",
  "image/tiff",
  "image/webp",
  "image/gif",
  "image/bmp",
  "application/pdf",
]);
/** What one page may take. */
const memoryBytes = 2 * 1024 ** 3;

export async function open(options: OcrOptions): Promise<Enricher> {
  const { languages, layout, resolution, all, prefix, timeout_s: timeout } = options;
  const programs = findPrograms(["tesseract"]);
  const env = { PATH: process.env["PATH"] };
  const { stdout } = await run(programs["tesseract"]!, ["--version"], { env });
  const version = /tesseract v?(\S+)/.exec(stdout)?.[1] ?? "unknown";
  const columns: Column[] = [
    { name: `${prefix}text`, type: "string", doc: "Text in the picture, in the order of reading." },
    { name: `${prefix}confidence`, type: "double", doc: "How sure tesseract is of its words on average, 0 to 100." },
    { name: `${prefix}words`, type: "int", doc: "Words that it found." },
  ];

  async function read(input: EnricherInput, signal: AbortSignal | undefined): Promise<Enriched> {
    const { bytes } = input.asset!;
    const { page, needs_ocr: needs } = input.values ?? {};
    if (!all && needs === false) return { values: [null, null, null] };
    const mediaType = sniffMediaType(bytes.subarray(0, 8192), input.asset!.uri);
    if (!readable.has(mediaType)) return { rejected: `it is ${mediaType}, and no image` };
    const isPdf = mediaType === "application/pdf";
    const job = {
      languages: languages.join("+"),
      layout,
      resolution,
      page: isPdf ? (typeof page === "number" ? page : 1) : null,
      programs: isPdf ? { ...programs, ...findPrograms(["pdftoppm"]) } : programs,
    };
    return withFile(bytes, "page", async (path) => {
      let found: PageText | undefined;
      try {
        const outputs = runInSandbox({
          module,
          input: [path, job],
          file: input.asset!.uri,
          path,
          deadlineMs: timeout * 1000,
          memoryBytes,
          programs: true,
          ...(signal ? { signal } : {}),
        });
        for await (const output of outputs) if (!(output instanceof Uint8Array)) found = output.message as PageText;
      } catch (error) {
        if (!isMillraceError(error) || error.code === "aborted" || error.code === "internal") throw error;
        return { rejected: error.message };
      }
      const { text, confidence, words } = found!;
      return { values: [text, confidence, words] };
    });
  }

  return {
    model: JSON.stringify({ tesseract: version, languages, layout, resolution, all }),
    reads: (input) => ["page", "needs_ocr"].filter((name) => input.some((column) => column.name === name)),
    columns: () => columns,
    async check(signal) {
      throwIfAborted(signal);
      const { stdout: list } = await run(programs["tesseract"]!, ["--list-langs"], { env });
      const known = new Set(list.split("\n").map((line) => line.trim()));
      for (const language of languages) {
        if (known.has(language)) continue;
        throw new MillraceError("config", `tesseract has no model of the language \`${language}\``, {
          hint: `\`apt-get install tesseract-ocr-${language.replaceAll("_", "-")}\`; \`tesseract --list-langs\` shows those that there are`,
        });
      }
    },
    async enrich(inputs, { signal }) {
      throwIfAborted(signal);
      const answers: Enriched[] = [];
      await forEachLimited(inputs, availableParallelism(), async (input, index) => {
        answers[index] = await read(input, signal);
      });
      return answers;
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
}
