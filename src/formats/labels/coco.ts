import { boxAround, type Label } from "./columns.ts";
import { elementsOf } from "./elements.ts";

type Json = Record<string, unknown>;
const isNumbers = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((each) => typeof each === "number");
const numberOf = (value: unknown): number | undefined => (typeof value === "number" ? value : undefined);
const textOf = (value: unknown): string | undefined =>
  typeof value === "string" ? value : typeof value === "number" ? String(value) : undefined;

interface Image {
  file: string;
  width: number | undefined;
  height: number | undefined;
  isLabelled: boolean;
}

/** https://cocodataset.org/#format-data. Read twice: images may come after the labels that name them. */
export async function* readCoco(path: string): AsyncGenerator<Label, void, undefined> {
  const images = new Map<string, Image>();
  const categories = new Map<string, { name: string; supercategory: string | undefined }>();
  for await (const { key, value } of elementsOf(path)) {
    const record = (value ?? {}) as Json;
    const id = textOf(record["id"]);
    if (id === undefined) continue;
    if (key === "images") {
      const file = textOf(record["file_name"]) ?? id;
      images.set(id, { file, width: numberOf(record["width"]), height: numberOf(record["height"]), isLabelled: false });
    } else if (key === "categories") {
      categories.set(id, { name: textOf(record["name"]) ?? id, supercategory: textOf(record["supercategory"]) });
    }
  }
  for await (const { key, value } of elementsOf(path)) {
    if (key !== "annotations") continue;
    const record = (value ?? {}) as Json;
    const image = images.get(textOf(record["image_id"]) ?? "");
    if (image !== undefined) image.isLabelled = true;
    yield labelOf(record, image, categories);
  }
  for (const { file, width, height, isLabelled } of images.values()) {
    if (!isLabelled) yield { tool: "coco", image: file, imageWidth: width, imageHeight: height, kind: "none" };
  }
}

function labelOf(
  record: Json,
  image: Image | undefined,
  categories: ReadonlyMap<string, { name: string; supercategory: string | undefined }>,
): Label {
  const {
    id,
    image_id,
    category_id,
    bbox,
    segmentation,
    keypoints,
    iscrowd,
    area,
    score,
    caption,
    attributes,
    ...rest
  } = record;
  const number = textOf(category_id);
  const category = number === undefined ? undefined : categories.get(number);
  const polygons = Array.isArray(segmentation) ? segmentation.filter(isNumbers) : undefined;
  const mask =
    typeof segmentation === "object" && segmentation !== null && !Array.isArray(segmentation)
      ? segmentation
      : undefined;
  const points = isNumbers(keypoints) ? keypoints : undefined;
  const kind =
    points !== undefined
      ? "keypoints"
      : mask !== undefined
        ? "mask"
        : polygons?.length
          ? "polygon"
          : isNumbers(bbox)
            ? "box"
            : typeof caption === "string"
              ? "text"
              : "class";
  return {
    tool: "coco",
    image: image?.file ?? textOf(image_id) ?? "",
    imageWidth: image?.width,
    imageHeight: image?.height,
    label: category?.name ?? number,
    kind,
    box: isNumbers(bbox) && bbox.length === 4 ? bbox : boxAround(polygons ?? []),
    polygons,
    mask,
    keypoints: points,
    text: textOf(caption),
    score: numberOf(score),
    crowd: iscrowd === undefined ? undefined : iscrowd === 1 || iscrowd === true,
    area: numberOf(area),
    annotation: textOf(id),
    attributes: { supercategory: category?.supercategory, ...(attributes as Json | undefined), ...rest },
  };
}
