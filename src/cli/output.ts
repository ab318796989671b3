import { redact } from "../core/secrets.ts";
import { plain } from "./text/values.ts";

/** Where a command writes. Everything is redacted; nothing is written once the reader has gone. */
export interface Output {
  /** Cells of the terminal, or undefined when the output is not one and needs no limit. */
  readonly width: number | undefined;
  readonly colour: boolean;
  /** True when progress may be drawn on stderr. */
  readonly interactive: boolean;
  /** A result, to stdout. */
  print(text: string): void;
  /** A result for machines, to stdout. */
  json(value: unknown): void;
  /** A remark for people, to stderr. */
  note(text: string): void;
}

const styles = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const;

export function paint(output: { colour: boolean }, style: keyof typeof styles, text: string): string {
  return output.colour ? `\u001b[${styles[style]}m${text}\u001b[0m` : text;
}

export function createOutput(stdout: NodeJS.WriteStream, stderr: NodeJS.WriteStream): Output {
  const gone = new Set<NodeJS.WriteStream>();
  for (const stream of [stdout, stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      // `millrace … | head`: the reader has what it wanted; the work itself goes on.
      if (error.code !== "EPIPE" && error.code !== "ERR_STREAM_DESTROYED") throw error;
      gone.add(stream);
    });
  }
  const write = (stream: NodeJS.WriteStream, text: string): void => {
    if (!gone.has(stream)) stream.write(`${redact(text)}\n`);
  };
  return {
    width: stdout.isTTY ? Math.max(40, stdout.columns) : undefined,
    colour: stdout.isTTY && (process.env["NO_COLOR"] ?? "") === "" && process.env["TERM"] !== "dumb",
    interactive: stderr.isTTY && process.env["TERM"] !== "dumb" && process.env["CI"] === undefined,
    print: (text) => write(stdout, text),
    json: (value) => write(stdout, JSON.stringify(plain(value), undefined, stdout.isTTY ? 2 : undefined)),
    note: (text) => write(stderr, text),
  };
}
