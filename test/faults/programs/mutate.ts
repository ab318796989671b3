/**
 * Preloaded into a process of the tests: replaces pieces of one module's source while it is loaded, so that a safety mechanism is
 * missing. `FAULTS_MUTANT` names the mutant. A mutant whose piece is no longer in the source ends the process: it would prove nothing.
 */
import { registerHooks } from "node:module";
import { fileURLToPath } from "node:url";
import { mutants, type MutantName } from "../mutants.ts";

const name = process.env["FAULTS_MUTANT"] as MutantName;
const mutant = mutants[name];
const target = new URL(`../../../src/${mutant.file}`, import.meta.url).href;
let applied = false;

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context);
    if (url !== target) return loaded;
    let text = Buffer.from(loaded.source as Uint8Array).toString();
    for (const [find, replace] of mutant.edits) {
      const parts = text.split(find);
      if (parts.length !== 2) {
        console.error(`mutant ${name}: \`${find}\` is ${parts.length - 1} times in ${fileURLToPath(target)}`);
        process.exit(70);
      }
      text = parts.join(replace);
    }
    applied = true;
    return { ...loaded, source: text };
  },
});

process.on("exit", () => {
  if (applied) return;
  console.error(`mutant ${name}: ${fileURLToPath(target)} was never loaded`);
  process.exitCode = 70;
});
