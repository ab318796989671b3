/**
 * Draws real series of the vega-datasets package as bars, lines and points, in many sizes and colours, into `incoming/` of the folder that is named
 * (default: this one). Some files are spoiled on purpose, as in any real folder.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import sharp, { type Sharp } from "sharp";

const here = dirname(fileURLToPath(import.meta.url));
const data = join(here, "../../node_modules/vega-datasets/data");
const incoming = join(process.argv[2] ?? here, "incoming");
const [perKind, points] = [2, 12];

/** Numbers from 0 to below 1 that look random and are the same in each run (Lehmer). */
let state = 7;
const random = (): number => (state = (state * 48271) % 2147483647) / 2147483647;
const between = (low: number, high: number): number => Math.floor(low + random() * (high - low + 1));

/** Jobs by branch, from two sources, a number a month for ten years. */
function readSeries(): Map<string, number[]> {
  const series = new Map<string, number[]>();
  const [head, ...lines] = readFileSync(join(data, "us-employment.csv"), "utf8").trim().split(/\r?\n/);
  for (const [column, name] of head!.split(",").entries()) {
    if (column > 0)
      series.set(
        name,
        lines.map((line) => Number(line.split(",")[column])),
      );
  }
  const months = JSON.parse(readFileSync(join(data, "unemployment-across-industries.json"), "utf8")) as {
    series: string;
    rate: number;
  }[];
  for (const { series: branch, rate } of months) {
    const name = `unemployed-${branch.toLowerCase().replaceAll(/\W+/g, "-")}`;
    series.set(name, [...(series.get(name) ?? []), rate]);
  }
  return series;
}

/** A chart as SVG. */
function draw(kind: string, values: readonly number[]): string {
  const [width, height, margin] = [between(110, 220), between(90, 160), between(4, 14)];
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const x = (index: number): number => margin + ((width - 2 * margin) * (index + 0.5)) / values.length;
  const y = (value: number): number =>
    height - margin - (height - 2 * margin) * (0.08 + (0.92 * (value - least)) / (most - least || 1));
  const hue = between(0, 359);
  const dark = random() < 0.4;
  const [paper, ink] = [`hsl(${hue},30%,${dark ? 12 : 95}%)`, `hsl(${hue + between(90, 270)},70%,${dark ? 70 : 35}%)`];
  const step = ((width - 2 * margin) / values.length) * (0.6 + random() * 0.3);
  const shapes: Record<string, () => string> = {
    bars: () =>
      values
        .map(
          (value, index) =>
            `<rect x="${x(index) - step / 2}" y="${y(value)}" width="${step}" height="${height - margin - y(value)}" fill="${ink}"/>`,
        )
        .join(""),
    line: () =>
      `<polyline points="${values.map((value, index) => `${x(index)},${y(value)}`).join(" ")}" fill="none" stroke="${ink}" stroke-width="${between(2, 4)}"/>`,
    points: () => {
      const radius = between(2, 4);
      return values
        .map((value, index) => `<circle cx="${x(index)}" cy="${y(value)}" r="${radius}" fill="${ink}"/>`)
        .join("");
    },
  };
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}"><rect width="100%" height="100%" fill="${paper}"/>${shapes[kind]!()}</svg>`;
}

mkdirSync(incoming, { recursive: true });
const files: Promise<void>[] = [];
for (const [name, values] of readSeries()) {
  for (const kind of ["bars", "line", "points"]) {
    for (let number = 1; number <= perKind; number++) {
      const start = between(0, values.length - points);
      const image = sharp(Buffer.from(draw(kind, values.slice(start, start + points))));
      const [extension, encoded] = [
        ["png", image.png()],
        ["jpg", image.jpeg({ quality: 85 })],
        ["webp", image.webp()],
      ][between(0, 2)] as [string, Sharp];
      files.push(encoded.toFile(join(incoming, `${name}.${kind}-${number}.${extension}`)).then(() => undefined));
    }
  }
}
await Promise.all(files);

// One that was cut off on its way, one that is no image, one that is there twice under another name, and one that is tiny.
const first = await sharp(Buffer.from(draw("bars", [1, 2, 3])))
  .png()
  .toBuffer();
writeFileSync(join(incoming, "scan.bars-1.png"), first.subarray(0, first.length - 60));
writeFileSync(join(incoming, "scan.line-1.png"), "<html>404 not found</html>");
for (const name of ["points-1.png", "points-2.png"]) writeFileSync(join(incoming, `scan.${name}`), first);
await sharp(first).resize(16, 16).png().toFile(join(incoming, "scan.bars-2.png"));
console.log(`${files.length} charts and 5 doubtful files in ${incoming}`);
