#!/usr/bin/env node
// Old syntax on purpose: a Node that is too old must still get as far as the sentence below.
// Queries and files share these threads; see src/engine/pipe.ts.
process.env.UV_THREADPOOL_SIZE = process.env.UV_THREADPOOL_SIZE || "16";
var major = Number(process.versions.node.split(".")[0]);
if (major < 24) {
  console.error("error: Millrace needs Node 24 or newer, and this is Node " + process.versions.node);
  console.error(
    "  try: install Node 24 (https://nodejs.org); in a clone of Millrace, `npm install` brings it along for `npx millrace`",
  );
  process.exit(2);
} else {
  import("node:module")
    .then(function (module) {
      // Compiled code is kept between starts: a tenth of the time of a small run.
      module.enableCompileCache();
      return import("../dist/cli/main.js");
    })
    .then(
      function (cli) {
        return cli.main(process.argv.slice(2));
      },
      function (error) {
        if (error.code === "ERR_MODULE_NOT_FOUND" && /dist.cli.main/.test(error.message)) {
          console.error("error: Millrace is not built");
          console.error("  try: npm install, or npm run build");
        } else {
          console.error(error);
        }
        process.exit(1);
      },
    );
}
