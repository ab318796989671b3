/** `npm run bench -- files|database|commit`. Peers are installed by `bench/peers/setup.sh`. */
const name = process.argv[2] ?? "";
if (!["files", "database", "commit"].includes(name)) {
  console.error("usage: npm run bench -- files|database|commit");
  process.exit(2);
}
await import(`./${name}.ts`);
