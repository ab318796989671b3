import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { complain, drawPage } from "../shared/draw.ts";

const run = promisify(execFile);
const maximumOutput = 64 * 1024 ** 2;

export interface PageText {
  text: string;
  confidence: number | null;
  words: number;
}

interface Job {
  languages: string;
  layout: number;
  resolution: number;
  /** Page of a PDF, from 1; null for an image. */
  page: number | null;
  programs: { tesseract: string; pdftoppm?: string };
}

/** Runs in the child, whose limits hold for the programs too. */
export default async function* read(path: string, job: Job): AsyncGenerator<PageText> {
  const image = job.page === null ? path : await drawPage(path, { ...job, page: job.page });
  // One thread a process: several pages are read at once.
  const env = { OMP_THREAD_LIMIT: "1" };
  const words = ["--psm", String(job.layout), "--dpi", String(job.resolution), "-l", job.languages, "tsv"];
  const { stdout } = await run(job.programs.tesseract, [image, "stdout", ...words], {
    env,
    maxBuffer: maximumOutput,
  }).catch(complain);
  yield textOf(stdout);
}

/**
 * Words in the order of reading: blocks and paragraphs are parted by an empty line, lines by a line feed. Columns of the table: level,
 * page, block, paragraph, line, word, left, top, width, height, confidence, text.
 */
function textOf(table: string): PageText {
  let text = "";
  let sum = 0;
  let words = 0;
  let place = "";
  let paragraph = "";
  for (const row of table.split("\n").slice(1)) {
    const cells = row.split("\t");
    if (cells[0] !== "5") continue;
    const word = (cells[11] ?? "").trim();
    if (word === "") continue;
    const [, page, block, part, line] = cells;
    const ofParagraph = `${page} ${block} ${part}`;
    const ofLine = `${ofParagraph} ${line}`;
    if (text !== "") text += ofParagraph !== paragraph ? "\n\n" : ofLine !== place ? "\n" : " ";
    text += word;
    place = ofLine;
    paragraph = ofParagraph;
    sum += Number(cells[10]);
    words++;
  }
  return { text, confidence: words === 0 ? null : sum / words, words };
}
