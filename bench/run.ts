/** `npm run bench -- files|database|commit|parallel|object-store|export|feed`. Peers are installed by `bench/peers/setup.sh`. */
const name = process.argv[2] ?? "";
if (!["files", "database", "commit", "parallel", "object-store", "export", "feed"].includes(name)) {
  console.error("usage: npm run bench -- files|database|commit|parallel|object-store|export|feed");
  process.exit(2);
}
await import(`./${name}.ts`);
