/**
 * The last step of `.ci/run`: prints `N passed, N failed` from the JSON report of vitest, and exits with 0 only when that is
 * the whole truth.
 *
 *     node scripts/count-tests.ts <report.json> <exit code of vitest> <exit code of npm run check>
 */
import { readFileSync } from "node:fs";

interface Report {
  numPassedTests: number;
  numFailedTests: number;
  numTotalTests: number;
  testResults: { name: string; status: string; message: string; assertionResults: unknown[] }[];
}

const [path, testsExit, checkExit] = process.argv.slice(2);
const report = JSON.parse(readFileSync(path!, "utf8")) as Report;
// A file that could not even be loaded has no tests to count; it is one failure.
const brokenFiles = report.testResults.filter((file) => file.status === "failed" && file.assertionResults.length === 0);
for (const file of brokenFiles) console.error(`not run: ${file.name}: ${file.message}`);
let failed = report.numFailedTests + brokenFiles.length;
if (checkExit !== "0") {
  console.error("`npm run check` failed");
  failed++;
}
if (testsExit !== "0" && failed === 0) {
  console.error(`vitest ended with ${testsExit}, though no test failed: an error outside of a test`);
  failed++;
}
if (report.numPassedTests === 0 && failed === 0) {
  console.error("no test ran");
  process.exit(1);
}
const skipped = report.numTotalTests - report.numPassedTests - report.numFailedTests;
if (skipped > 0) console.log(`${skipped} skipped`);
console.log(`${report.numPassedTests} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
