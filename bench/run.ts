const names = ["files", "database", "commit", "parallel", "object-store", "export", "feed", "feed-images", "lookup", "media", "collect"];
const name = process.argv[2] ?? "";
if (!names.includes(name)) {
  console.error(`usage: npm run bench -- ${names.join("|")}; peers are installed by bench/peers/setup.sh`);
  process.exit(2);
}
await import(`./${name}.ts`);
