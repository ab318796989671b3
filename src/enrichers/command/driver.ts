import { spawn } from "node:child_process";
import { extname } from "node:path";
import {
  forEachLimited,
  MillraceError,
  parseJson,
  throwIfAborted,
  type Column,
  type CursorValue,
  type DataType,
  type Enriched,
  type Enricher,
  type EnricherContext,
  type EnricherInput,
} from "../../core/index.ts";
import { findPrograms } from "../../sandbox/index.ts";
import { withFile } from "../shared/scratch.ts";
import type { CommandOptions } from "./index.ts";

const maximumOutput = 16 * 1024 ** 2;
/** Some programs go by the end of the name. */
const extensions: Record<string, string> = {
  "audio/wav": ".wav",
  "audio/mpeg": ".mp3",
  "audio/flac": ".flac",
  "audio/ogg": ".ogg",
  "audio/mp4": ".m4a",
  "image/jpeg": ".jpg",
  "image/png": ".png",
  "video/mp4": ".mp4",
  "application/pdf": ".pdf",
};

function typeOf(name: string): DataType {
  if (name === "list<float>") return { type: "list", element: "float" };
  if (name === "list<string>") return { type: "list", element: "string" };
  return (name === "json" ? "string" : name) as DataType;
}

export async function open(options: CommandOptions, { folder }: EnricherContext): Promise<Enricher> {
  const { command, version, output, environment, parallel, timeout_s: timeout } = options;
  const declared = Object.entries(options.columns ?? { text: "string" });
  if (output === "text" && (declared.length !== 1 || declared[0]![1] !== "string")) {
    throw new MillraceError("config", "`output: text` gives one column of type `string`", {
      hint: "name one, or write an object and set `output: json`",
    });
  }
  const [program, ...rest] = command as [string, ...string[]];
  const path = program.includes("/") ? program : findPrograms([program])[program]!;
  const columns = declared.map(([name, type]): Column => ({ name, type: typeOf(type) }));

  async function ask(input: EnricherInput, signal: AbortSignal | undefined): Promise<Enriched> {
    const { bytes, uri, mediaType } = input.asset!;
    const ending = extensions[mediaType] ?? (/^\.\w{1,8}$/.test(extname(uri)) ? extname(uri) : "");
    return withFile(bytes, `asset${ending}`, async (file, scratch) => {
      const filled = rest.map((word) => word.replaceAll("{file}", file).replaceAll("{folder}", scratch));
      const ended = await run(path, filled, { folder, environment, timeout }, signal);
      if (ended.code !== 0) {
        const said = ended.words.trim().split("\n").at(-1) ?? "";
        return {
          rejected: `it ended with ${ended.code ?? ended.signal}${said === "" ? "" : `: ${said.slice(0, 300)}`}`,
        };
      }
      return output === "text" ? { values: [ended.output.trim()] } : valuesOf(ended.output);
    });
  }

  function valuesOf(text: string): Enriched {
    let found: unknown;
    try {
      found = parseJson(text);
    } catch {
      return { rejected: `it wrote no JSON: ${text.slice(0, 100)}` };
    }
    if (typeof found !== "object" || found === null || Array.isArray(found)) return { rejected: "it wrote no object" };
    const record = found as Record<string, unknown>;
    return {
      values: declared.map(([name, type]): CursorValue => {
        const value = Object.hasOwn(record, name) ? record[name] : null;
        if (type === "json") return value === null || value === undefined ? null : JSON.stringify(value);
        return (typeof value === "bigint" ? String(value) : (value ?? null)) as CursorValue;
      }),
    };
  }

  return {
    model: JSON.stringify({ version, command, output, columns: declared }),
    columns: () => columns,
    async check(signal) {
      throwIfAborted(signal);
      findPrograms([program.includes("/") ? "true" : program]);
    },
    async enrich(inputs, { signal }) {
      throwIfAborted(signal);
      const answers: Enriched[] = [];
      await forEachLimited(inputs, parallel, async (input, index) => {
        answers[index] = await ask(input, signal);
      });
      return answers;
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
}

interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  output: string;
  words: string;
}

/** Throws `aborted`, `timeout`, `unsupported` for a program that cannot be started, and `limit` for one that writes too much. */
function run(
  path: string,
  words: readonly string[],
  { folder, environment, timeout }: { folder: string; environment: Record<string, string>; timeout: number },
  signal: AbortSignal | undefined,
): Promise<Ended> {
  throwIfAborted(signal);
  return new Promise((resolve, reject) => {
    const env = { PATH: process.env["PATH"] ?? "", ...environment };
    const child = spawn(path, words, { cwd: folder, env, stdio: ["ignore", "pipe", "pipe"], detached: true });
    const kill = (): void => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
      } catch {
        // It has ended by itself.
      }
    };
    let failure: MillraceError | undefined;
    const give = (error: MillraceError): void => {
      failure ??= error;
      kill();
    };
    const timer = setTimeout(
      () =>
        give(new MillraceError("timeout", `\`${path}\` took longer than ${timeout} s`, { hint: "raise `timeout_s`" })),
      timeout * 1000,
    );
    const onAbort = (): void => give(new MillraceError("aborted", "stopped by the caller", { cause: signal?.reason }));
    signal?.addEventListener("abort", onAbort, { once: true });
    let output = "";
    let said = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      if (output.length > maximumOutput) give(new MillraceError("limit", `\`${path}\` writes more than 16 MiB`));
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      said = (said + text).slice(-4_000);
    });
    child.once("error", (cause) => {
      failure ??= new MillraceError("unsupported", `\`${path}\` cannot be started: ${cause.message}`, { cause });
    });
    child.once("close", (code, ended) => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      kill();
      if (failure !== undefined) reject(failure);
      else resolve({ code, signal: ended, output, words: said });
    });
  });
}
