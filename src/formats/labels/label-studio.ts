import { boxAround, type Label } from "./columns.ts";
import { elementsOf } from "./elements.ts";

type Json = Record<string, unknown>;
const records = (value: unknown): Json[] =>
  Array.isArray(value) ? value.filter((each): each is Json => typeof each === "object" && each !== null) : [];
const numberOf = (value: unknown): number | undefined => (typeof value === "number" ? value : undefined);
const textOf = (value: unknown): string | undefined =>
  typeof value === "string" ? value : typeof value === "number" ? String(value) : undefined;

/** https://labelstud.io/guide/task_format: tasks with annotations and predictions. Shapes are in percent of the image. */
export async function* readLabelStudio(path: string): AsyncGenerator<Label, void, undefined> {
  for await (const { value } of elementsOf(path)) {
    const task = (value ?? {}) as Json;
    const data = (task["data"] ?? {}) as Json;
    const image = fileOf(
      textOf(data["image"]) ??
        textOf(Object.values(data).find((each) => typeof each === "string")) ??
        textOf(task["id"]) ??
        "",
    );
    let found = 0;
    for (const annotation of [...records(task["annotations"]), ...records(task["completions"])]) {
      if (annotation["was_cancelled"] === true) continue;
      const annotator = annotatorOf(annotation["completed_by"]);
      for (const label of labelsOf(records(annotation["result"]), image, annotator, undefined)) {
        found++;
        yield label;
      }
    }
    for (const prediction of records(task["predictions"])) {
      const model = textOf(prediction["model_version"]) ?? "model";
      for (const label of labelsOf(records(prediction["result"]), image, model, numberOf(prediction["score"]))) {
        found++;
        yield label;
      }
    }
    if (found === 0) yield { tool: "label-studio", image, kind: "none" };
  }
}

/** Uploaded files are named by an address of the server, with the file in it or in its query. */
function fileOf(address: string): string {
  const local = /[?&]d=([^&]+)/.exec(address)?.[1];
  try {
    return decodeURIComponent(local ?? address);
  } catch {
    return local ?? address;
  }
}

function annotatorOf(value: unknown): string | undefined {
  if (typeof value === "object" && value !== null) {
    const { email, username, id } = value as Json;
    return textOf(email) ?? textOf(username) ?? textOf(id);
  }
  return textOf(value);
}

const shapes: Record<string, string> = {
  rectanglelabels: "box",
  rectangle: "box",
  ellipselabels: "box",
  polygonlabels: "polygon",
  polygon: "polygon",
  brushlabels: "mask",
  brush: "mask",
  keypointlabels: "keypoints",
  keypoint: "keypoints",
  choices: "class",
  taxonomy: "class",
  rating: "class",
  textarea: "text",
};

function* labelsOf(
  results: readonly Json[],
  image: string,
  annotator: string | undefined,
  score: number | undefined,
): Generator<Label> {
  for (const result of results) {
    const type = textOf(result["type"]) ?? "";
    const value = (result["value"] ?? {}) as Json;
    const width = numberOf(result["original_width"]);
    const height = numberOf(result["original_height"]);
    const kind = Object.hasOwn(shapes, type) ? shapes[type]! : "class";
    const names = namesOf(value, type);
    const shape = shapeOf(kind, type, value, width, height);
    for (const label of kind === "text" || names.length === 0 ? [undefined] : names) {
      yield {
        tool: "label-studio",
        image,
        imageWidth: width,
        imageHeight: height,
        label,
        kind,
        ...shape,
        ...(kind === "text" ? { text: names.join("\n") } : {}),
        score: numberOf(result["score"]) ?? score,
        annotator,
        annotation: textOf(result["id"]),
        attributes: { type, from_name: result["from_name"], meta: result["meta"] },
      };
    }
  }
}

function namesOf(value: Json, type: string): string[] {
  for (const key of [type, "labels", "choices", "text", "taxonomy", "rating"]) {
    const found = value[key];
    if (Array.isArray(found)) return found.map((each) => (Array.isArray(each) ? each.join(" / ") : String(each)));
    if (typeof found === "string" || typeof found === "number") return [String(found)];
  }
  return [];
}

function shapeOf(
  kind: string,
  type: string,
  value: Json,
  width: number | undefined,
  height: number | undefined,
): Partial<Label> {
  const [x, y, w, h] = ["x", "y", "width", "height"].map((key) => numberOf(value[key]));
  const scaled = (points: readonly (readonly number[])[]): number[] =>
    points.flatMap(([px, py]) => [(px! / 100) * (width ?? 1), (py! / 100) * (height ?? 1)]);
  if (type.startsWith("ellipse")) {
    const [rx, ry] = [numberOf(value["radiusX"]) ?? 0, numberOf(value["radiusY"]) ?? 0];
    if (x === undefined || y === undefined) return {};
    return {
      shares: [x - rx, y - ry, x + rx, y + ry].map((each) => each / 100),
      rotation: numberOf(value["rotation"]),
    };
  }
  if (kind === "box" && x !== undefined && y !== undefined && w !== undefined && h !== undefined) {
    return { shares: [x / 100, y / 100, (x + w) / 100, (y + h) / 100], rotation: numberOf(value["rotation"]) };
  }
  if (kind === "polygon") {
    const points = (Array.isArray(value["points"]) ? value["points"] : []) as number[][];
    const ring = scaled(points);
    const around = boxAround([points.flat()]);
    const shares =
      around && [around[0]!, around[1]!, around[0]! + around[2]!, around[1]! + around[3]!].map((each) => each / 100);
    return { polygons: [ring], shares };
  }
  if (kind === "keypoints" && x !== undefined && y !== undefined) return { keypoints: [...scaled([[x, y]]), 2] };
  if (kind === "mask") return { mask: { format: value["format"], rle: value["rle"] } };
  return {};
}
