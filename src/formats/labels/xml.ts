import { createReadStream } from "node:fs";
import { MillraceError } from "../../core/index.ts";
import { xmlReader } from "../xml.ts";
import { boxAround, type Label } from "./columns.ts";

/** An element with what is in it. */
interface Node {
  name: string;
  attributes: Record<string, string>;
  text: string;
  children: Node[];
}

const child = (node: Node | undefined, name: string): Node | undefined =>
  node?.children.find((each) => each.name === name);
const textIn = (node: Node | undefined, name: string): string | undefined => child(node, name)?.text.trim();
const number = (text: string | undefined): number | undefined => {
  const value = Number(text);
  return text === undefined || text === "" || !Number.isFinite(value) ? undefined : value;
};

/** Elements that are given as soon as they end, so that a large file is never held as a whole. */
const units = new Set(["image", "track"]);
const maximumUnit = 1_000_000;

/** Pascal VOC (one image a file) and CVAT for images and for videos. Throws `parse`. */
export async function* readXml(path: string, firstPixel: 0 | 1): AsyncGenerator<Label, void, undefined> {
  const stack: Node[] = [];
  let root: Node | undefined;
  let size = 0;
  let done: Node[] = [];
  let video: { width?: number | undefined; height?: number | undefined; name?: string | undefined } = {};
  const reader = xmlReader("it", {
    open(name, attributes) {
      if (++size > maximumUnit) throw new MillraceError("limit", "one image has more than a million elements");
      const node: Node = { name, attributes, text: "", children: [] };
      root ??= node;
      stack.at(-1)?.children.push(node);
      stack.push(node);
    },
    text(text) {
      const node = stack.at(-1);
      if (node !== undefined && node.text.length < 100_000) node.text += text;
    },
    close(name) {
      const node = stack.pop()!;
      const parent = stack.at(-1);
      if (root?.name !== "annotations" || parent !== root) return;
      if (name === "meta") {
        const task = child(node, "task") ?? child(node, "job") ?? node;
        const original = child(task, "original_size");
        video = {
          name: textIn(task, "source") ?? textIn(task, "name"),
          width: number(textIn(original, "width")),
          height: number(textIn(original, "height")),
        };
      }
      if (units.has(name)) done.push(node);
      root.children = [];
      size = 0;
    },
  });
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 18 }) as AsyncIterable<Buffer>) {
    reader.write(chunk);
    for (const node of done) yield* node.name === "image" ? ofImage(node) : ofTrack(node, video);
    done = [];
  }
  reader.close();
  for (const node of done) yield* node.name === "image" ? ofImage(node) : ofTrack(node, video);
  if (root?.name === "annotation") yield* ofVoc(root, firstPixel);
  else if (root?.name !== "annotations")
    throw new MillraceError("parse", "it is XML, but neither of Pascal VOC nor of CVAT");
}

/** http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html: corners are pixels counted from 1, both included, or from 0 without the second. */
function* ofVoc(root: Node, first: 0 | 1): Generator<Label> {
  const size = child(root, "size");
  const common = {
    tool: "voc",
    image: textIn(root, "filename") ?? textIn(root, "path") ?? "",
    imageWidth: number(textIn(size, "width")),
    imageHeight: number(textIn(size, "height")),
  };
  const objects = root.children.filter(({ name }) => name === "object");
  if (objects.length === 0) yield { ...common, kind: "none" };
  for (const object of objects) {
    const corners = child(object, "bndbox");
    const [left, top, right, bottom] = ["xmin", "ymin", "xmax", "ymax"].map((name) => number(textIn(corners, name)));
    const box = [left, top, right, bottom].includes(undefined)
      ? undefined
      : [left! - first, top! - first, right! - left! + first, bottom! - top! + first];
    yield {
      ...common,
      label: textIn(object, "name"),
      kind: "box",
      box,
      score: number(textIn(object, "confidence")),
      attributes: {
        pose: textIn(object, "pose"),
        truncated: textIn(object, "truncated"),
        difficult: textIn(object, "difficult"),
        occluded: textIn(object, "occluded"),
      },
    };
  }
}

const shapeNames = new Set(["box", "polygon", "polyline", "points", "mask", "tag", "ellipse"]);
const kinds: Record<string, string> = { polyline: "line", points: "keypoints", tag: "class", ellipse: "box" };

/** https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/ */
function* ofImage(node: Node): Generator<Label> {
  const { id, name, width, height } = node.attributes;
  const common = { tool: "cvat", image: name ?? id ?? "", imageWidth: number(width), imageHeight: number(height) };
  const found = node.children.filter((each) => shapeNames.has(each.name));
  if (found.length === 0) yield { ...common, kind: "none" };
  for (const shape of found) yield { ...common, ...shapeOf(shape), label: shape.attributes["label"] };
}

function* ofTrack(
  node: Node,
  video: { width?: number | undefined; height?: number | undefined; name?: string | undefined },
): Generator<Label> {
  for (const shape of node.children.filter((each) => shapeNames.has(each.name))) {
    // The object is not in the picture any more.
    if (shape.attributes["outside"] === "1") continue;
    yield {
      tool: "cvat",
      image: node.attributes["source_file"] ?? video.name ?? "",
      imageWidth: video.width,
      imageHeight: video.height,
      ...shapeOf(shape),
      label: node.attributes["label"],
      track: node.attributes["id"],
      frame: number(shape.attributes["frame"]),
    };
  }
}

function shapeOf(
  shape: Node,
): Pick<Label, "kind" | "box" | "polygons" | "keypoints" | "mask" | "rotation" | "attributes"> {
  const {
    xtl,
    ytl,
    xbr,
    ybr,
    cx,
    cy,
    rx,
    ry,
    points = "",
    rle,
    left,
    top,
    width,
    height,
    rotation,
    occluded,
    source,
    z_order,
  } = shape.attributes;
  const ring = points
    .split(/[;,]/)
    .filter((each) => each !== "")
    .map(Number);
  const own = shape.children
    .filter(({ name }) => name === "attribute")
    .map((each) => [each.attributes["name"] ?? "", each.text.trim()]);
  const attributes = { occluded, source, z_order, ...Object.fromEntries(own) } as Record<string, unknown>;
  const base = {
    kind: Object.hasOwn(kinds, shape.name) ? kinds[shape.name]! : shape.name,
    rotation: number(rotation),
    attributes,
  };
  if (shape.name === "box") {
    const [a, b, c, d] = [xtl, ytl, xbr, ybr].map(number);
    return { ...base, box: [a ?? NaN, b ?? NaN, (c ?? NaN) - (a ?? NaN), (d ?? NaN) - (b ?? NaN)] };
  }
  if (shape.name === "ellipse") {
    const [x, y, h, v] = [cx, cy, rx, ry].map((each) => number(each) ?? NaN) as [number, number, number, number];
    return { ...base, box: [x - h, y - v, 2 * h, 2 * v] };
  }
  if (shape.name === "mask") {
    return {
      ...base,
      box: [left, top, width, height].map((each) => number(each) ?? NaN),
      mask: { rle, left, top, width, height },
    };
  }
  if (ring.length === 0 || !ring.every(Number.isFinite)) return base;
  if (shape.name === "points") {
    const visible = ring.flatMap((value, at) => (at % 2 === 0 ? [value] : [value, 2]));
    return { ...base, keypoints: visible, box: boxAround([ring]) };
  }
  return { ...base, polygons: [ring], box: boxAround([ring]) };
}
