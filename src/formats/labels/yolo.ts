import { MillraceError } from "../../core/index.ts";
import { boxAround, type Label } from "./columns.ts";

/**
 * https://docs.ultralytics.com/datasets/: a file an image, a line a label, all as shares of the image. `class cx cy w h` with a score
 * after it in predictions, `class x1 y1 x2 y2 x3 y3 …` for outlines, and boxes followed by triples for key points. Throws `parse`.
 */
export function* readYolo(text: string, name: string, classes: readonly string[] | undefined): Generator<Label> {
  const image = name.replace(/\.[^./\\]+$/, "");
  let found = 0;
  for (const [index, line] of text.split("\n").entries()) {
    const words = line.trim().split(/\s+/);
    if (line.trim() === "") continue;
    const values = words.map(Number);
    if (values.length < 5 || !values.every(Number.isFinite) || !Number.isInteger(values[0])) {
      throw new MillraceError("parse", `line ${index + 1} is no label of YOLO: \`${line.slice(0, 60)}\``);
    }
    found++;
    const [number, ...rest] = values as [number, ...number[]];
    yield { tool: "yolo", image, label: classes?.[number] ?? String(number), ...shapeOf(rest) };
  }
  if (found === 0) yield { tool: "yolo", image, kind: "none" };
}

function shapeOf(values: readonly number[]): Pick<Label, "kind" | "shares" | "polygons" | "keypoints" | "score"> {
  const [x, y, width, height, ...more] = values as [number, number, number, number, ...number[]];
  const shares = [x - width / 2, y - height / 2, x + width / 2, y + height / 2];
  if (more.length === 0) return { kind: "box", shares };
  if (more.length === 1) return { kind: "box", shares, score: more[0] };
  if (values.length % 2 === 0 && values.length >= 6) {
    const [left, top, wide, high] = boxAround([values])!;
    return { kind: "polygon", polygons: [values], shares: [left!, top!, left! + wide!, top! + high!] };
  }
  if (more.length % 3 === 0) return { kind: "keypoints", shares, keypoints: more };
  throw new MillraceError("parse", `${values.length + 1} numbers are neither a box, nor an outline, nor key points`);
}
