/** `npm run bench -- files|database|commit|parallel|object-store|export`. Peers are installed by `bench/peers/setup.sh`. */
const name = process.argv[2] ?? "";
if (!["files", "database", "commit", "parallel", "object-store", "export"].includes(name)) {
  console.error("usage: npm run bench -- files|database|commit|parallel|object-store|export");
  process.exit(2);
}
await import(`./${name}.ts`);
