// The floor of a commit on a file system: write + fsync + link + fsync of the folder, nothing else.
import { closeSync, fsyncSync, linkSync, mkdirSync, openSync, unlinkSync, writeSync } from "node:fs";

const [, , folder, count] = process.argv;
mkdirSync(folder, { recursive: true });
const directory = openSync(folder, "r");
const body = Buffer.alloc(2000, "x");
for (let index = 0; index < Number(count); index++) {
  const temporary = `${folder}/.tmp`;
  const file = openSync(temporary, "w");
  writeSync(file, body);
  fsyncSync(file);
  closeSync(file);
  linkSync(temporary, `${folder}/v${index}.json`);
  unlinkSync(temporary);
  fsyncSync(directory);
}
