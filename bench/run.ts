/** `npm run bench -- files|database|commit|parallel|object-store|export|feed|feed-images`. Peers are installed by `bench/peers/setup.sh`. */
const name = process.argv[2] ?? "";
if (!["files", "database", "commit", "parallel", "object-store", "export", "feed", "feed-images"].includes(name)) {
  console.error("usage: npm run bench -- files|database|commit|parallel|object-store|export|feed|feed-images");
  process.exit(2);
}
await import(`./${name}.ts`);
