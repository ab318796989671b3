/** The command line from the sources, so that mutants can be made of them. */
import { main } from "../../../src/cli/main.ts";

await main(process.argv.slice(2));
