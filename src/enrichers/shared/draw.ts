import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { MillraceError } from "../../core/errors.ts";

const run = promisify(execFile);
const maximumOutput = 64 * 1024 ** 2;

export interface Page {
  /** From 1. */
  page: number;
  /** Dots per inch. */
  resolution: number;
  programs: { pdftoppm?: string };
}

/** Runs in the child, whose limits hold for the program too: a page of a PDF as PNG, in the working folder. */
export async function drawPage(path: string, { page, resolution, programs }: Page): Promise<string> {
  const options = ["-png", "-gray", "-r", String(resolution), "-f", String(page), "-l", String(page), "-singlefile"];
  await run(programs.pdftoppm!, [...options, path, "drawn"], { env: {}, maxBuffer: maximumOutput }).catch(complain);
  return "drawn.png";
}

/** What a program says against a file, as an error. Throws `parse`. */
export function complain(error: unknown): never {
  const { stderr = "", message = "" } = error as { stderr?: string; message?: string };
  const said = stderr.split("\n").find((line) => line.trim() !== "" && !/^(Estimating|Detected|Warning)/.test(line));
  throw new MillraceError("parse", (said ?? message).trim().slice(0, 300), { cause: error });
}

/** The page itself, for whoever sends it on. */
export default async function* draw(path: string, page: Page): AsyncGenerator<Uint8Array> {
  yield await readFile(await drawPage(path, page));
}
