import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openLake } from "../../src/index.ts";
import { requireFfmpeg, type Ffmpeg } from "../services/ffmpeg.ts";
import { elementsOf, type Element } from "../support/page.ts";
import { millrace } from "./millrace.ts";

let folder: string;
let ffmpeg: Ffmpeg;
beforeAll(async () => {
  ffmpeg = await requireFfmpeg();
  folder = await mkdtemp(join(tmpdir(), "millrace-preview-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** A sound of so many seconds, 16 bits at 48 kHz, two channels. */
function wave(seconds: number): Buffer {
  const data = Buffer.alloc(seconds * 192_000);
  for (let at = 0; at < data.length; at += 1024) data.writeInt16LE(((at / 1024) % 200) * 100, at);
  const head = Buffer.from("RIFF____WAVEfmt \x10\0\0\0\x01\0\x02\0____\0\xee\x02\0\x04\0\x10\0data____", "latin1");
  head.writeUInt32LE(36 + data.length, 4);
  head.writeUInt32LE(48_000, 24);
  head.writeUInt32LE(192_000, 28);
  head.writeUInt32LE(data.length, 40);
  return Buffer.concat([head, data]);
}

async function previewed(dataset: string, html: string): Promise<Element[]> {
  const { code, stderr } = await millrace(folder, ["preview", dataset, "--html", html]);
  expect([code, stderr]).toEqual([0, expect.stringContaining(html)]);
  return elementsOf(await readFile(join(folder, html), "utf8"));
}
const sources = (elements: readonly Element[], name: string): string[] =>
  elements.filter((element) => element.name === name).map(({ attributes }) => attributes["src"]!);

test("recordings and films are played from the page, large ones from files, and texts are read", async () => {
  for (const name of ["calls", "films", "films-elsewhere", "notes", "pages"]) await mkdir(join(folder, name));
  await writeFile(join(folder, "calls", "large.wav"), wave(88));
  await writeFile(join(folder, "calls", "small.wav"), wave(1));
  const film = ["-f", "lavfi", "-i", "testsrc=size=128x96:rate=10:duration=1"];
  await ffmpeg.make(...film, join(folder, "films", "a.mp4"));
  await ffmpeg.make(...film, join(folder, "films-elsewhere", "b #1.mp4"));
  await writeFile(join(folder, "notes", "a.txt"), "The first line of a note.\n\nAnd <b>another</b> paragraph of it.");
  const flows = {
    calls: { from: { path: "calls/*", format: "audio" } },
    films: { from: { path: "films/*", format: "video", options: { rows: "frame", every_s: 0.5 } } },
    elsewhere: {
      from: { path: "films-elsewhere/*", format: "video", options: { rows: "video" }, assets: { keep: false } },
    },
    notes: { from: { path: "notes/*", format: "documents" } },
  };
  await writeFile(join(folder, "millrace.yaml"), JSON.stringify({ store: "./lake", flows }));
  {
    await using lake = await openLake({ folder });
    for (const flow of Object.keys(flows)) expect((await lake.run(flow)).status).toBe("published");
  }
  const [calls, films, elsewhere, notes] = await Promise.all([
    previewed("calls", "pages/calls.html"),
    previewed("films", "films.html"),
    previewed("elsewhere", "pages/elsewhere.html"),
    previewed("notes", "notes.html"),
  ]);

  const [large, small] = sources(calls, "audio").toSorted((a, b) => a.length - b.length);
  expect(large).toMatch(/^\.\.\/lake\/calls\/assets\//);
  expect((await stat(resolve(folder, "pages", large!))).size).toBe(88 * 192_000 + 44);
  const [, type, base64] = /^data:([^;]+);base64,(.+)$/s.exec(small!)!;
  expect(type).toMatch(/^audio\//);
  expect(Buffer.from(base64!, "base64")).toEqual(wave(1));

  expect(sources(films, "video")).toEqual([expect.stringMatching(/^data:video\/mp4;base64,/)]);
  expect(films.find(({ name }) => name === "video")!.attributes["poster"]).toMatch(/^data:image\/jpeg;base64,/);
  expect(sources(films, "img")).toEqual([expect.stringMatching(/^data:image\/jpeg;base64,/)]);

  const [kept] = sources(elsewhere, "video");
  expect(kept).toBe("../films-elsewhere/b%20%231.mp4");
  expect((await stat(join(dirname(join(folder, "pages/x")), decodeURIComponent(kept!)))).isFile()).toBe(true);

  expect(notes.find(({ attributes }) => attributes["class"] === "text")!.text).toBe(
    "The first line of a note.\n\nAnd <b>another</b> paragraph of it.",
  );
  expect(notes.filter(({ name }) => name === "b" || name === "script")).toEqual([]);
});
