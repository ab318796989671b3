/** Goes through the history of `../history.ts` in the store of the first argument, from the step of the second on; prints the number of steps after each. */
import { writeSync } from "node:fs";
import { goThrough, openWorkbench } from "../history.ts";

await using bench = await openWorkbench(process.argv[2]!);
await goThrough(bench, Number(process.argv[3]), (done) => writeSync(1, `${done}\n`));
