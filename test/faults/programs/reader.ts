/** Leases version 1 of the dataset `t` in the store of the first argument, waits for a byte, then reads its rows. */
import { readSync, writeSync } from "node:fs";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openCatalog } from "../../../src/dataset/index.ts";
import { openEngine } from "../../../src/engine/index.ts";
import * as fileSystem from "../../../src/stores/fs/driver.ts";

const root = process.argv[2]!;
const store = await fileSystem.open({ path: root }, { connection: "lake", folder: root });
const dataset = await openCatalog(store).open("t");
const version = dataset.version(1);
await using lease = await dataset.lease(version, "feed");
void lease;
writeSync(1, "leased\n");
readSync(3, Buffer.alloc(1));
const spillFolder = mkdtempSync(join(tmpdir(), "millrace-reader-"));
await using engine = await openEngine({ spillFolder, allowed: [root, spillFolder], threads: 1 });
const [row] = await engine.query(`SELECT count(*)::INT AS rows FROM ${await dataset.relation(version)}`);
writeSync(1, `rows ${String(row!["rows"])}\n`);
