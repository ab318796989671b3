import { assetColumns, type Column } from "../../core/index.ts";

const numbers = { type: "list", element: "double" } as const;

/** One label of one image, whatever tool it comes from. */
export const labelColumns: readonly Column[] = [
  { name: "tool", type: "string", doc: "`coco`, `yolo`, `voc`, `label-studio` or `cvat`." },
  { name: "image", type: "string", doc: "File of the image, as the labels name it." },
  {
    name: "stem",
    type: "string",
    doc: "Its name without folder and ending, which images of other folders and formats share.",
  },
  { name: "image_width", type: "int", doc: "Pixels; null where the labels do not say." },
  { name: "image_height", type: "int", doc: "Pixels; null where the labels do not say." },
  { name: "label", type: "string", doc: "Name of the class; null for an image that nothing was found in." },
  {
    name: "kind",
    type: "string",
    doc: "`box`, `polygon`, `mask`, `keypoints`, `line`, `class`, `text`, or `none` for an image without labels.",
  },
  { name: "x", type: "double", doc: "Left edge of the box around it, pixels." },
  { name: "y", type: "double", doc: "Top edge, pixels." },
  { name: "width", type: "double", doc: "Pixels." },
  { name: "height", type: "double", doc: "Pixels." },
  { name: "left", type: "double", doc: "Left edge of the box, as a share of the image's width." },
  { name: "top", type: "double", doc: "Top edge, as a share of the image's height." },
  { name: "right", type: "double", doc: "Right edge, as a share of the image's width." },
  { name: "bottom", type: "double", doc: "Bottom edge, as a share of the image's height." },
  { name: "rotation", type: "double", doc: "Degrees that the box is turned clockwise; null for upright ones." },
  {
    name: "polygons",
    type: { type: "list", element: numbers },
    doc: "Outlines as x1, y1, x2, y2, …: pixels, or shares where the size is not known.",
  },
  { name: "mask", type: "string", doc: "Run-length code as the tool writes it, JSON." },
  {
    name: "keypoints",
    type: numbers,
    doc: "Points as x, y, visibility: pixels, or shares where the size is not known.",
  },
  { name: "text", type: "string", doc: "What was typed." },
  { name: "score", type: "double", doc: "Of a prediction, 0 to 1." },
  { name: "crowd", type: "boolean", doc: "A group that was outlined as one." },
  { name: "area", type: "double", doc: "Pixels, as the tool says." },
  { name: "annotator", type: "string", doc: "Who labelled it, or which model." },
  { name: "track", type: "string", doc: "Object that several frames of a video share." },
  { name: "frame", type: "long", doc: "Number of the frame of a video." },
  { name: "annotation", type: "string", doc: "What the tool calls this label." },
  { name: "attributes", type: "string", doc: "What else is said of it, as JSON." },
];

export const columns: readonly Column[] = [...assetColumns, ...labelColumns];

/** A label as readers give it: what they do not know is left out. Boxes in pixels or as shares. */
export interface Label {
  tool: string;
  image: string;
  imageWidth?: number | undefined;
  imageHeight?: number | undefined;
  label?: string | undefined;
  kind: string;
  /** Left, top, width, height in pixels. */
  box?: readonly number[] | undefined;
  /** Left, top, right, bottom as shares. */
  shares?: readonly number[] | undefined;
  rotation?: number | undefined;
  polygons?: readonly (readonly number[])[] | undefined;
  mask?: unknown;
  keypoints?: readonly number[] | undefined;
  text?: string | undefined;
  score?: number | undefined;
  crowd?: boolean | undefined;
  area?: number | undefined;
  annotator?: string | undefined;
  track?: string | undefined;
  frame?: number | undefined;
  annotation?: string | undefined;
  attributes?: Record<string, unknown> | undefined;
}

const sound = (value: number | undefined): number | null => (Number.isFinite(value) ? value! : null);

/** The smallest upright box around points. */
export function boxAround(points: readonly (readonly number[])[]): number[] | undefined {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const ring of points) {
    for (let at = 0; at + 1 < ring.length; at += 2) {
      left = Math.min(left, ring[at]!);
      right = Math.max(right, ring[at]!);
      top = Math.min(top, ring[at + 1]!);
      bottom = Math.max(bottom, ring[at + 1]!);
    }
  }
  return Number.isFinite(left + top + right + bottom) ? [left, top, right - left, bottom - top] : undefined;
}

/** The values of a row, in the order of `labelColumns`; pixels and shares follow from each other where the size is known. */
export function rowOf(found: Label): unknown[] {
  const { imageWidth, imageHeight } = found;
  const sized = (imageWidth ?? 0) > 0 && (imageHeight ?? 0) > 0;
  let { box, shares } = found;
  if (shares === undefined && box !== undefined && sized) {
    const [x, y, width, height] = box as [number, number, number, number];
    shares = [x / imageWidth!, y / imageHeight!, (x + width) / imageWidth!, (y + height) / imageHeight!];
  } else if (box === undefined && shares !== undefined && sized) {
    const [left, top, right, bottom] = shares as [number, number, number, number];
    box = [left * imageWidth!, top * imageHeight!, (right - left) * imageWidth!, (bottom - top) * imageHeight!];
  }
  const name = found.image.split(/[/\\]/).at(-1)!;
  const attributes = Object.entries(found.attributes ?? {}).filter(
    ([, value]) => value !== undefined && value !== null,
  );
  return [
    found.tool,
    found.image,
    name.replace(/\.[A-Za-z0-9]{1,5}$/, ""),
    sized ? imageWidth : null,
    sized ? imageHeight : null,
    found.label ?? null,
    found.kind,
    ...[0, 1, 2, 3].map((at) => sound(box?.[at])),
    ...[0, 1, 2, 3].map((at) => sound(shares?.[at])),
    found.rotation === 0 ? null : sound(found.rotation),
    found.polygons === undefined || found.polygons.length === 0 ? null : found.polygons.map((ring) => [...ring]),
    found.mask === undefined ? null : JSON.stringify(found.mask),
    found.keypoints === undefined || found.keypoints.length === 0 ? null : [...found.keypoints],
    found.text ?? null,
    sound(found.score),
    found.crowd ?? null,
    sound(found.area),
    found.annotator ?? null,
    found.track ?? null,
    sound(found.frame),
    found.annotation ?? null,
    attributes.length === 0 ? null : JSON.stringify(Object.fromEntries(attributes)),
  ];
}
