import { spawn } from "node:child_process";

export interface Outcome {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

const main = new URL("../../src/cli/main.ts", import.meta.url).href;
const script = `import { main } from ${JSON.stringify(main)}; await main(process.argv.slice(1));`;

/** Arguments of Node for a command. */
export function millraceArguments(args: readonly string[]): string[] {
  return ["--input-type=module", "--eval", script, "--", ...args];
}

/** Runs the command line from its sources in a child process, in `folder`. */
export function millrace(
  folder: string,
  args: readonly string[],
  options: { env?: Record<string, string>; input?: string } = {},
): Promise<Outcome> {
  const child = spawn(process.execPath, millraceArguments(args), {
    cwd: folder,
    env: { ...process.env, MILLRACE_DEBUG: "", ...options.env },
  });
  child.stdin.end(options.input ?? "");
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}
