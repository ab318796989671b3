import { existsSync, readFileSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, readdir, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openLake, type Lake } from "../../src/index.ts";
import { sniffMediaType } from "../../src/core/index.ts";

const corpora = join(import.meta.dirname, "../../../shared/corpora");
const here = existsSync(corpora);

interface Facts {
  ImageWidth?: number;
  ImageHeight?: number;
  Orientation?: number;
  Make?: string;
  Model?: string;
  DateTimeOriginal?: string;
  GPSLatitude?: number;
  GPSLongitude?: number;
}
const factsOf = (folder: string): Record<string, Facts> =>
  (JSON.parse(readFileSync(join(folder, "expected.json"), "utf8")) as { files: Record<string, Facts> }).files;

let folder: string;

async function lakeOf(from: Record<string, unknown>, more: Record<string, unknown> = {}): Promise<Lake> {
  const config = { store: "./lake", flows: { photos: { from: { format: "images", ...from }, ...more } } };
  await writeFile(join(folder, "millrace.yaml"), JSON.stringify(config));
  return openLake({ folder });
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-images-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Noise that a coder cannot make small. */
async function picture(width: number, height: number, seed: number): Promise<Buffer> {
  const data = Buffer.alloc(width * height * 3);
  let state = seed;
  for (let index = 0; index < data.length; index++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    data[index] = state >>> 24;
  }
  return sharp(data, { raw: { width, height, channels: 3 } })
    .jpeg({ quality: 90 })
    .toBuffer();
}

test.skipIf(!here)("media types are told by content", async () => {
  const wanted: Record<string, RegExp> = {
    "good/images/photos": /^(image\/|application\/(octet-stream|xml))/,
    "good/audio": /^(audio|video|application\/(octet-stream|json))/,
    "good/video": /^(video|audio|application\/(octet-stream|json)|text)/,
  };
  for (const [path, pattern] of Object.entries(wanted)) {
    const files = (await readdir(join(corpora, path), { recursive: true, withFileTypes: true })).filter((file) =>
      file.isFile(),
    );
    expect(files.length).toBeGreaterThan(3);
    for (const file of files) {
      if (file.name === "expected.json") continue;
      const head = readFileSync(join(file.parentPath, file.name)).subarray(0, 8192);
      expect(`${file.name} ${sniffMediaType(head, "")}`).toMatch(new RegExp(`^.* ${pattern.source.slice(1)}`));
    }
  }
});

describe("images", () => {
  test.skipIf(!here)("facts agree with those of exiftool; what is no image is rejected with its reason", async () => {
    const path = join(corpora, "good/images/photos");
    const facts = factsOf(path);
    await using lake = await lakeOf({ path: `${path}/*` });
    const report = await lake.run("photos");
    expect(report.status).toBe("published");
    const files = (await readdir(path)).length;
    expect(report.read).toBe(files);
    const { rows } = await lake.query(
      "select uri, width, height, orientation, camera, taken_at::varchar as taken, latitude, longitude from photos",
    );
    expect(rows.length).toBe(report.written);
    expect(rows.length).toBeGreaterThan(files * 0.7);
    let compared = 0;
    for (const row of rows as Record<string, unknown>[]) {
      const fact = facts[basename(String(row["uri"]))];
      if (fact?.ImageWidth === undefined || fact.ImageHeight === undefined) continue;
      compared++;
      const turned = (fact.Orientation ?? 1) >= 5;
      const expected = turned ? [fact.ImageHeight, fact.ImageWidth] : [fact.ImageWidth, fact.ImageHeight];
      expect({ uri: row["uri"], size: [row["width"], row["height"]] }).toEqual({ uri: row["uri"], size: expected });
      if (fact.GPSLatitude !== undefined) {
        expect(row["latitude"]).toBeCloseTo(fact.GPSLatitude, 5);
        expect(row["longitude"]).toBeCloseTo(fact.GPSLongitude!, 5);
      }
      if (fact.DateTimeOriginal !== undefined && row["taken"] !== null) {
        expect(row["taken"]).toBe(fact.DateTimeOriginal.replace(/^(\d+):(\d+):/, "$1-$2-").slice(0, 19));
      }
    }
    expect(compared).toBeGreaterThan(20);
    const rejected = await lake.query("select reason, origin, record from photos__rejected");
    for (const row of rejected.rows as { reason: string; record: string }[]) {
      expect(row.reason).toMatch(/no image|damaged|empty|pixels|memory|took/);
      expect(JSON.parse(row.record)).toMatchObject({
        uri: expect.any(String) as string,
        size: expect.any(Number) as number,
      });
    }
  });

  test("small bytes are in the row, larger ones an object once for equal content; verify, gc and erase know them", async () => {
    await rm(join(folder, "lake"), { recursive: true, force: true });
    const photos = join(folder, "photos");
    await mkdir(photos, { recursive: true });
    const small = await picture(16, 16, 1);
    const large = await picture(300, 200, 2);
    expect(small.length).toBeLessThan(4096);
    expect(large.length).toBeGreaterThan(4096);
    await writeFile(join(photos, "small.jpg"), small);
    await writeFile(join(photos, "large.jpg"), large);
    await writeFile(join(photos, "copy.jpg"), large);
    await writeFile(join(photos, "cut.jpg"), large.subarray(0, large.length - 3000));
    await writeFile(join(photos, "empty.jpg"), "");
    const from = { path: "photos/*.jpg", assets: { inline_max_bytes: 4096 } };
    await using album = await lakeOf(from, { mode: "merge", key: ["uri"] });
    const first = await album.run("photos");
    expect(first).toMatchObject({ read: 5, written: 3, rejected: 2 });
    const objects = (): Promise<string[]> =>
      readdir(join(folder, "lake/photos/assets"), { recursive: true }).then((all) =>
        all.filter((name) => name.length > 10),
      );
    const rows = (await album.query("select uri, hex(bytes) as bytes, object, sha256 from photos order by uri"))
      .rows as Record<string, string | null>[];
    expect(rows.map((row) => [row["uri"], row["bytes"] !== null, row["object"] !== null])).toEqual([
      ["photos/copy.jpg", false, true],
      ["photos/large.jpg", false, true],
      ["photos/small.jpg", true, false],
    ]);
    expect(rows[2]!["bytes"]).toBe(small.toString("hex").toUpperCase());
    expect(rows[0]!["object"]).toBe(rows[1]!["object"]);
    expect(readFileSync(join(folder, "lake", rows[0]!["object"]!)).equals(large)).toBe(true);
    expect(Buffer.from(await album.asset(rows[0]!["object"]!)).equals(large)).toBe(true);
    await expect(album.asset("../millrace.yaml")).rejects.toMatchObject({ code: "usage" });
    await expect(album.asset("photos/assets/00/nothing")).rejects.toMatchObject({ code: "not-found" });
    // The one that is cut is rejected, and its bytes are kept too.
    const [cut] = (await album.query("select reason, record from photos__rejected where origin like '%cut%'")).rows as {
      reason: string;
      record: string;
    }[];
    expect(cut!.reason).toContain("damaged");
    const { object } = JSON.parse(cut!.record) as { object: string };
    expect(readFileSync(join(folder, "lake", object)).length).toBe(large.length - 3000);
    expect(await objects()).toHaveLength(2);

    // The same content under another name makes no other object, in a later run either.
    await copyFile(join(photos, "large.jpg"), join(photos, "again.jpg"));
    expect(await album.run("photos")).toMatchObject({ read: 1, written: 1 });
    expect(await objects()).toHaveLength(2);
    expect((await album.verify("photos", { deep: true })).problems).toEqual([]);

    const gone = { minimumAgeMs: 0, now: Date.now() + 60_000 };
    const stray = "photos/assets/00/nobody-names-this";
    await mkdir(join(folder, "lake/photos/assets/00"), { recursive: true });
    await writeFile(join(folder, "lake", stray), "x");
    const swept = (await album.gc("photos", gone)).removed.filter(({ path }) => path.includes("/assets/"));
    expect(swept.map(({ path }) => path)).toEqual([stray]);
    await album.erase("photos", { where: "uri like '%large.jpg' or uri like '%copy.jpg' or uri like '%again.jpg'" });
    expect(await objects()).toHaveLength(1);
    await rm(join(folder, "lake", object));
    expect((await album.verify("photos")).problems).toMatchObject([{ file: object, problem: "is not there" }]);
  });

  test("images that look alike have hashes that differ in few bits; blank, dark and blurred ones are told apart", async () => {
    await rm(join(folder, "lake"), { recursive: true, force: true });
    const looks = join(folder, "looks");
    await mkdir(looks, { recursive: true });
    const scene = sharp({ create: { width: 400, height: 300, channels: 3, background: "#336699" } }).composite([
      {
        input: Buffer.from(
          '<svg width="400" height="300"><rect x="20" y="30" width="90" height="160" fill="#fff"/><circle cx="300" cy="120" r="70" fill="#d22"/><path d="M0 290 L200 200 L400 295" stroke="#000" stroke-width="9"/></svg>',
        ),
      },
    ]);
    const png = await scene.png().toBuffer();
    const write = async (name: string, bytes: Buffer): Promise<void> => writeFile(join(looks, name), bytes);
    await write("scene.png", png);
    await write("smaller.jpg", await sharp(png).resize(200).jpeg({ quality: 60 }).toBuffer());
    await write("blurred.png", await sharp(png).blur(12).png().toBuffer());
    await write("turned.jpg", await sharp(png).jpeg().withMetadata({ orientation: 6 }).toBuffer());
    await write("other.jpg", await picture(400, 300, 7));
    await write(
      "blank.png",
      await sharp({ create: { width: 64, height: 64, channels: 3, background: "#fff" } })
        .png()
        .toBuffer(),
    );
    await write(
      "dark.png",
      await sharp({ create: { width: 64, height: 64, channels: 3, background: "#020202" } })
        .png()
        .toBuffer(),
    );
    await using lake = await lakeOf({ path: "looks/*" });
    expect(await lake.run("photos")).toMatchObject({ read: 7, written: 7 });
    const { rows } = await lake.query(`
      select a.uri[7:] as uri, bit_count(xor(a.phash, s.phash)) as distance, a.sharpness, a.entropy, a.brightness, a.width
      from photos a, photos s where s.uri = 'looks/scene.png'`);
    const by = Object.fromEntries((rows as { uri: string }[]).map((row) => [row.uri, row])) as unknown as Record<
      string,
      { distance: number; sharpness: number; entropy: number; brightness: number; width: number }
    >;
    expect(by["smaller.jpg"]!.distance).toBeLessThanOrEqual(6);
    expect(by["other.jpg"]!.distance).toBeGreaterThan(16);
    expect(by["turned.jpg"]!.width).toBe(300);
    expect(by["blurred.png"]!.sharpness).toBeLessThan(by["scene.png"]!.sharpness / 10);
    expect(by["blank.png"]).toMatchObject({ entropy: 0, brightness: expect.closeTo(1, 9) as number });
    expect(by["dark.png"]!.brightness).toBeLessThan(0.05);
  });

  test.skipIf(!here)(
    "hostile images end in data or a rejection, and no process dies that is not ours to lose",
    async () => {
      await rm(join(folder, "lake"), { recursive: true, force: true });
      const path = join(corpora, "hostile/images");
      const files = (await readdir(path, { recursive: true, withFileTypes: true })).filter((file) => file.isFile());
      await using lake = await lakeOf({ path: `${path}/**/*` });
      const report = await lake.run("photos");
      expect(report.read).toBe(files.length);
      expect(report.written + report.rejected).toBe(files.length);
      expect(report.rejected).toBeGreaterThan(50);
    },
  );

  test("a file that was read is not read again; one that changed is", async () => {
    await rm(join(folder, "lake"), { recursive: true, force: true });
    const album = join(folder, "album");
    await mkdir(album, { recursive: true });
    await writeFile(join(album, "a.jpg"), await picture(20, 20, 3));
    await using lake = await lakeOf({ path: "album/*.jpg" }, { mode: "merge", key: ["uri"] });
    expect(await lake.run("photos")).toMatchObject({ written: 1 });
    expect(await lake.run("photos")).toMatchObject({ status: "unchanged" });
    await utimes(join(album, "a.jpg"), new Date(1e12), new Date(1e12));
    expect(await lake.run("photos")).toMatchObject({ status: "unchanged" });
    await writeFile(join(album, "b.jpg"), await picture(20, 20, 4));
    expect(await lake.run("photos")).toMatchObject({ read: 1, written: 1 });
  });
});
