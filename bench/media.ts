/** Images, PDF, audio and video → dataset, beside the libraries and programs that do the decoding. `npm run bench -- media [images|pdf|audio|video]`. */
import { execFileSync } from "node:child_process";
import { existsSync, linkSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cache, dataFolder, publish, race, root, table, type Contestant } from "./harness.ts";
import { files as pictures, makeImages } from "./pictures.ts";

const out = join(cache, "bench-out/media");
const place = join(dataFolder, "media");
const python = join(cache, "bench-feed/bin/python");
const peer = join(root, "bench/peers/media_read.mjs");
const only = process.argv[3];
const [imageCount, pageCount, audioSeconds, videoSeconds] = [2000, 300, 600, 60];

/** A run of a flow, from start to a committed version. */
function millrace(name: string, from: object, proof: string): Contestant {
  const lake = join(out, "lake");
  const command = [process.execPath, join(root, "bin/millrace.mjs")];
  const config = join(lake, "millrace.yaml");
  return {
    name,
    command: [...command, "run", "media", "--config", config],
    before() {
      rmSync(lake, { recursive: true, force: true });
      mkdirSync(lake, { recursive: true });
      const flows = { media: { from: { ...from, assets: { keep: false } } } };
      writeFileSync(config, JSON.stringify({ store: "./lake", flows }));
    },
    proof() {
      const text = execFileSync(command[0]!, [command[1]!, "query", proof, "--json", "--config", config], { encoding: "utf8" });
      const [rows] = Object.values((JSON.parse(text) as { rows?: object[] }).rows?.[0] ?? (JSON.parse(text) as object[])[0]!) as unknown[];
      return { rows: Number(rows) } as never;
    },
  };
}
const script = (name: string, ...rest: string[]): Contestant => ({ name, command: [process.execPath, peer, ...rest] });

/** Makes a file or folder once. */
async function once(path: string, make: (partial: string) => Promise<void> | void): Promise<string> {
  if (existsSync(path)) return path;
  const dot = path.lastIndexOf(".");
  const partial = dot > path.lastIndexOf("/") ? `${path.slice(0, dot)}-partial${path.slice(dot)}` : `${path}-partial`;
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(join(partial, ".."), { recursive: true });
  await make(partial);
  renameSync(partial, path);
  return path;
}

interface Row {
  name: string;
  title: string;
  units: number;
  floor: string;
  contestants: () => Promise<Contestant[]>;
}

const ffmpeg = ["ffmpeg", "-nostdin", "-v", "error", "-y"];
const benches: Row[] = [
  {
    name: "images",
    title: `${imageCount.toLocaleString("en")} JPEG 500 × 375 → metadata, thumbnail of 256 pixels`,
    units: imageCount,
    floor: "sharp alone, a thread a core",
    async contestants() {
      await makeImages();
      const folder = await once(join(place, "images"), (partial) => {
        mkdirSync(partial);
        for (const name of readdirSync(pictures).toSorted().slice(0, imageCount)) linkSync(join(pictures, name), join(partial, name));
      });
      const from = { path: `${folder}/*.jpg`, format: "images" };
      return [
        millrace("millrace run (also hash, phash, sharpness, commit)", from, "select count(thumbnail) as n from media"),
        script("sharp alone, a thread a core", "sharp", folder),
        { name: "Pillow, 2 processes", command: [python, join(root, "bench/peers/media_read.py"), "pillow", folder] },
      ];
    },
  },
  {
    name: "pdf",
    title: `PDF of ${pageCount} pages of text → text of each page`,
    units: pageCount,
    floor: "pdf.js alone",
    async contestants() {
      const path = await once(join(place, "text.pdf"), (partial) => {
        execFileSync(python, [join(root, "bench/peers/media_make.py"), "pdf", partial, String(pageCount)]);
      });
      return [
        millrace("millrace run", { path, format: "documents", options: { rows: "page" } }, "select count(text) as n from media"),
        script("pdf.js alone", "pdfjs", path),
        { name: "pdftotext (poppler)", command: ["pdftotext", path, join(out, "text.txt")] },
      ];
    },
  },
  {
    name: "audio",
    title: `MP3 of ${audioSeconds} s → 16 kHz mono, segments of 30 s`,
    units: audioSeconds,
    floor: "ffmpeg",
    async contestants() {
      const path = await once(join(place, "sound.mp3"), (partial) => {
        const tone = `sine=frequency=220:duration=${audioSeconds},tremolo=f=5:d=0.8[a];anoisesrc=d=${audioSeconds}:c=pink:a=0.2[b];[a][b]amix`;
        execFileSync(ffmpeg[0]!, [...ffmpeg.slice(1), "-filter_complex", tone, "-ac", "2", "-ar", "44100", "-b:a", "128k", partial]);
      });
      const options = { rows: "segment", samples: true };
      return [
        millrace("millrace run (also loudness, silence, clipping)", { path, format: "audio", options }, "select count(samples) as n from media"),
        { name: "ffmpeg", command: [...ffmpeg, "-i", path, "-ac", "1", "-ar", "16000", "-f", "s16le", join(out, "sound.raw")] },
        { name: "ffmpeg with its filters of loudness and silence", command: [...ffmpeg, "-i", path, "-af", "ebur128,silencedetect,astats", "-ac", "1", "-ar", "16000", "-f", "s16le", join(out, "sound.raw")] },
      ];
    },
  },
  {
    name: "video",
    title: `1080p of ${videoSeconds} s → a frame a second as JPEG, 640 pixels`,
    units: videoSeconds,
    floor: "ffmpeg",
    async contestants() {
      const path = await once(join(place, "film.mp4"), (partial) => {
        const input = `testsrc2=size=1920x1080:rate=30:duration=${videoSeconds},noise=alls=8:allf=t`;
        execFileSync(ffmpeg[0]!, [...ffmpeg.slice(1), "-f", "lavfi", "-i", input, "-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", partial]);
      });
      return [
        millrace("millrace run (also phash, sharpness)", { path, format: "video", options: { every_s: 1 } }, "select count(image) as n from media"),
        { name: "ffmpeg", command: [...ffmpeg, "-i", path, "-vf", "fps=1,scale=640:-2", "-q:v", "3", join(out, "frame-%03d.jpg")] },
      ];
    },
  },
];

mkdirSync(out, { recursive: true });
const sections: { title: string; text: string }[] = [];
for (const bench of benches) {
  if (only !== undefined && only !== bench.name) continue;
  const results = await race(await bench.contestants(), 5);
  sections.push({ title: bench.title, text: table(results, bench.floor, bench.units) });
}
publish(only === undefined ? "media" : `media-${only}`, sections, { command: "media" });
