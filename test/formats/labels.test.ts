import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openLake } from "../../src/index.ts";
import { elementsOf } from "../../src/formats/labels/elements.ts";
import { pythonEnvironment } from "../services/python.ts";

const run = promisify(execFile);
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-labels-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

type Row = Record<string, unknown>;
let count = 0;

/** The labels in files, in the order of `order`. */
async function read(path: string, options: Row = {}, order = "image, label, x, annotation"): Promise<Row[]> {
  const place = join(folder, `lake-${count++}`);
  await mkdir(place);
  const flows = { labels: { from: { path, format: "labels", options, assets: { keep: false } } } };
  await writeFile(join(place, "millrace.yaml"), JSON.stringify({ store: "./lake", flows }));
  await using lake = await openLake({ folder: place });
  const report = await lake.run("labels");
  expect(report.rejected).toBe(0);
  return (await lake.query(`select * from labels order by ${order}`)).rows as Row[];
}
async function write(name: string, content: unknown): Promise<string> {
  const path = join(folder, name);
  await mkdir(join(path, ".."), { recursive: true });
  await writeFile(path, typeof content === "string" ? content : JSON.stringify(content));
  return path;
}

/** Writes the same boxes in the form of each tool: not ours, so that we do not agree with ourselves only. */
const writer = `
import sys, random
from pathlib import Path
from globox import AnnotationSet, Annotation, BoundingBox
root = Path(sys.argv[1]); random.seed(7)
labels = ["car", "bus", "bicycle"]
all = []
for i in range(20):
    width, height = random.choice([(640, 480), (1920, 1080), (333, 777)])
    boxes = []
    for _ in range(random.randint(1, 6)):
        left, top = random.randint(0, width - 20), random.randint(0, height - 20)
        boxes.append(BoundingBox(label=random.choice(labels), xmin=left, ymin=top, xmax=random.randint(left + 1, width), ymax=random.randint(top + 1, height)))
    all.append(Annotation(image_id=f"img_{i:03d}.jpg", image_size=(width, height), boxes=boxes))
found = AnnotationSet(all)
for name in ["yolo", "voc"]: (root / name).mkdir()
found.save_coco(root / "coco.json", auto_ids=True)
found.save_yolo_v5(root / "yolo", label_to_id={label: index for index, label in enumerate(labels)})
found.save_pascal_voc(root / "voc")
found.save_cvat(root / "cvat.xml")
for annotation in all:
    for box in annotation.boxes: print(annotation.image_id, annotation.image_width, annotation.image_height, box.label, box.xmin, box.ymin, box.xmax, box.ymax)
`;

describe("labels", () => {
  test(
    "the same boxes come out of COCO, YOLO, Pascal VOC and CVAT, as another library writes them",
    { timeout: 300_000 },
    async () => {
      const { python } = await pythonEnvironment(["globox==2.9.0"]);
      const place = join(folder, "globox");
      await mkdir(place);
      const { stdout } = await run(python, ["-c", writer, place]);
      const truth = stdout
        .trim()
        .split("\n")
        .map((line) => line.split(" "))
        .map(([image, width, height, label, left, top, right, bottom]) => ({
          stem: image!.replace(".jpg", ""),
          size: [Number(width), Number(height)],
          label,
          box: [Number(left), Number(top), Number(right) - Number(left), Number(bottom) - Number(top)],
        }));
      expect(truth.length).toBeGreaterThan(40);
      const key = (row: { stem: unknown; label: unknown; box: unknown[] }): string =>
        `${String(row.stem)} ${String(row.label)} ${row.box.map((value) => Math.round(Number(value))).join(" ")}`;
      const wanted = truth.map(key).toSorted();
      const sources: [string, string, Row][] = [
        ["coco", join(place, "coco.json"), {}],
        ["voc", join(place, "voc/*.xml"), { voc_first_pixel: 0 }],
        ["cvat", join(place, "cvat.xml"), {}],
      ];
      for (const [tool, path, options] of sources) {
        const rows = await read(path, options);
        expect([tool, rows.every((row) => row["tool"] === tool && row["kind"] === "box")]).toEqual([tool, true]);
        const found = rows.map((row) =>
          key({ stem: row["stem"], label: row["label"], box: ["x", "y", "width", "height"].map((name) => row[name]) }),
        );
        expect([tool, found.toSorted()]).toEqual([tool, wanted]);
      }
      // YOLO does not say how large an image is: its shares are held to the size that we know.
      const sizes = new Map(truth.map(({ stem, size }) => [stem, size]));
      const rows = await read(join(place, "yolo/**/*.txt"), { classes: ["car", "bus", "bicycle"] });
      const found = rows.map((row) => {
        const [width, height] = sizes.get(String(row["stem"])) as [number, number];
        const [left, top, right, bottom] = ["left", "top", "right", "bottom"].map((name) => Number(row[name])) as [
          number,
          number,
          number,
          number,
        ];
        return key({
          stem: row["stem"],
          label: row["label"],
          box: [left * width, top * height, (right - left) * width, (bottom - top) * height],
        });
      });
      expect(found.toSorted()).toEqual(wanted);
      expect(rows.every((row) => row["x"] === null && row["image_width"] === null)).toBe(true);
    },
  );

  test("COCO: outlines, masks, key points, captions, and images without labels", async () => {
    const path = await write("coco.json", {
      info: { description: "images that come last", year: 2024 },
      annotations: [
        {
          id: 1,
          image_id: 9,
          category_id: 1,
          bbox: [10, 20, 30, 40],
          segmentation: [[10, 20, 40, 20, 40, 60]],
          area: 600,
          iscrowd: 0,
        },
        {
          id: 2,
          image_id: 9,
          category_id: 1,
          bbox: [0, 0, 5, 5],
          segmentation: { size: [100, 200], counts: [1, 2, 3] },
          area: 25,
          iscrowd: 1,
        },
        { id: 3, image_id: 9, category_id: 2, bbox: [1, 1, 2, 2], keypoints: [1, 1, 2, 3, 3, 1], num_keypoints: 2 },
        { id: 4, image_id: 9, caption: 'Two "cats", ]}[{ and a dog' },
        { id: 5, image_id: 9, category_id: 2, bbox: [1, 1, 2, 2], score: 0.75, attributes: { occluded: true } },
      ],
      categories: [
        { id: 1, name: "cat", supercategory: "animal" },
        { id: 2, name: "person", supercategory: null },
      ],
      images: [
        { id: 9, file_name: "train/0009.jpg", width: 200, height: 100 },
        { id: 10, file_name: "0010.jpg", width: 5, height: 5 },
      ],
    });
    const rows = await read(path, {}, "annotation nulls last");
    expect(rows.map((row) => row["kind"])).toEqual(["polygon", "mask", "keypoints", "text", "box", "none"]);
    expect(rows[0]).toMatchObject({
      image: "train/0009.jpg",
      stem: "0009",
      label: "cat",
      x: 10,
      y: 20,
      width: 30,
      height: 40,
      left: 0.05,
      top: 0.2,
      right: 0.2,
      bottom: 0.6,
      area: 600,
      crowd: false,
      polygons: [[10, 20, 40, 20, 40, 60]],
      attributes: '{"supercategory":"animal"}',
    });
    expect(rows[1]).toMatchObject({ crowd: true, mask: '{"size":[100,200],"counts":[1,2,3]}', polygons: null });
    expect(rows[2]).toMatchObject({ label: "person", keypoints: [1, 1, 2, 3, 3, 1] });
    expect(rows[3]).toMatchObject({ label: null, text: 'Two "cats", ]}[{ and a dog', x: null });
    expect(rows[4]).toMatchObject({ score: 0.75, attributes: '{"occluded":true}' });
    expect(rows[5]).toMatchObject({ image: "0010.jpg", label: null, annotation: null });
  });

  test("Label Studio: shapes in percent, choices, text, predictions, several annotators", async () => {
    const rectangle = (value: object, more: object = {}) => ({
      id: "r1",
      type: "rectanglelabels",
      from_name: "label",
      to_name: "image",
      original_width: 400,
      original_height: 200,
      value,
      ...more,
    });
    const path = await write("studio.json", [
      {
        id: 1,
        data: { image: "/data/local-files/?d=photos%2Fa%20b.jpg" },
        annotations: [
          {
            id: 5,
            completed_by: { email: "ada@example.com" },
            result: [rectangle({ x: 10, y: 20, width: 50, height: 25, rotation: 30, rectanglelabels: ["Car"] })],
          },
          {
            id: 6,
            completed_by: 2,
            result: [
              {
                id: "p",
                type: "polygonlabels",
                original_width: 400,
                original_height: 200,
                value: {
                  points: [
                    [0, 0],
                    [50, 0],
                    [50, 100],
                  ],
                  polygonlabels: ["Road"],
                },
              },
              { id: "c", type: "choices", value: { choices: ["Day", "Dry"] } },
              { id: "t", type: "textarea", value: { text: ["a", "b"] } },
            ],
          },
          {
            id: 7,
            completed_by: 3,
            was_cancelled: true,
            result: [rectangle({ x: 0, y: 0, width: 1, height: 1, rectanglelabels: ["No"] })],
          },
        ],
        predictions: [
          {
            model_version: "v2",
            score: 0.5,
            result: [
              rectangle({ x: 0, y: 0, width: 100, height: 100, rectanglelabels: ["Car"] }, { score: 0.9, id: "m" }),
            ],
          },
        ],
      },
      { id: 2, data: { image: "b.jpg" }, annotations: [] },
    ]);
    const rows = await read(path, {}, "image, annotation, label");
    expect(rows.map((row) => [row["annotation"], row["kind"], row["label"], row["annotator"], row["score"]])).toEqual([
      [null, "none", null, null, null],
      ["c", "class", "Day", "2", null],
      ["c", "class", "Dry", "2", null],
      ["m", "box", "Car", "v2", 0.9],
      ["p", "polygon", "Road", "2", null],
      ["r1", "box", "Car", "ada@example.com", null],
      ["t", "text", null, "2", null],
    ]);
    const box = rows.find((row) => row["annotation"] === "r1")!;
    expect(box).toMatchObject({
      image: "photos/a b.jpg",
      stem: "a b",
      x: 40,
      y: 40,
      width: 200,
      height: 50,
      rotation: 30,
    });
    expect(rows.find((row) => row["annotation"] === "p")).toMatchObject({
      polygons: [[0, 0, 200, 0, 200, 200]],
      x: 0,
      width: 200,
      height: 200,
    });
    expect(rows.find((row) => row["annotation"] === "t")!["text"]).toBe("a\nb");
    const dropped = await read(path, { annotators: "drop" }, "image");
    expect(dropped.every((row) => row["annotator"] === null)).toBe(true);
  });

  test("CVAT: tracks of a video, attributes, points and tags", async () => {
    const path = await write(
      "cvat.xml",
      `<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version><meta><task><name>street</name><source>street.mp4</source><original_size><width>640</width><height>360</height></original_size></task></meta>
      <track id="0" label="car"><box frame="0" outside="0" occluded="1" keyframe="1" xtl="10" ytl="20" xbr="110" ybr="70"><attribute name="colour">red &amp; blue</attribute></box><box frame="5" outside="1" xtl="0" ytl="0" xbr="1" ybr="1"/></track>
      <track id="1" label="lane"><polyline frame="3" outside="0" points="0.0,1.0;5.0,6.0"/></track></annotations>`,
    );
    const rows = await read(path, {}, "track");
    expect(rows).toHaveLength(2);
    expect(rows[0]).toMatchObject({
      image: "street.mp4",
      label: "car",
      track: "0",
      frame: 0n,
      x: 10,
      y: 20,
      width: 100,
      height: 50,
      image_width: 640,
      left: 10 / 640,
    });
    expect(JSON.parse(String(rows[0]!["attributes"]))).toEqual({ occluded: "1", colour: "red & blue" });
    expect(rows[1]).toMatchObject({ kind: "line", polygons: [[0, 1, 5, 6]], frame: 3n });
  });

  test("a document is gone through element by element, wherever its pieces are cut", async () => {
    const value = {
      a: [{ text: '"],}{[' }, { deep: [[1, [2]], {}] }, 7, "x", null],
      b: "plain",
      c: { d: [1, 2] },
      empty: [],
      last: [[]],
    };
    const path = await write("any.json", `  ${JSON.stringify(value, null, 1)}  `);
    const found: unknown[] = [];
    for await (const element of elementsOf(path)) found.push(element);
    expect(found).toEqual([
      ...value.a.map((each) => ({ key: "a", value: each })),
      { key: "b", value: "plain" },
      { key: "c", value: { d: [1, 2] } },
      { key: "last", value: [] },
    ]);
    for (const [index, text] of [
      "",
      "7",
      "{",
      "[1,",
      "[1}",
      '{"a":}',
      '{"a" 1}',
      '["a]',
      "[1] 2",
      '{"a":1,}x',
      "[tru]",
      "[1,]",
      "[,1]",
      '{"a":[1,]}',
      '{"a":[1]]',
      '{"a":[1] 2}',
      '{"a":[1],}',
    ].entries()) {
      const bad = await write(`bad-${index}.json`, text);
      await expect(
        (async () => {
          for await (const _ of elementsOf(bad)) void _;
        })(),
        text,
      ).rejects.toMatchObject({ code: "parse" });
    }
  });

  test("a large file takes no more memory than its largest element", { timeout: 120_000 }, async () => {
    const images = Array.from({ length: 2000 }, (_, id) => ({ id, file_name: `${id}.jpg`, width: 640, height: 480 }));
    const annotations = Array.from({ length: 150_000 }, (_, id) => ({
      id,
      image_id: id % 2000,
      category_id: 1,
      bbox: [1, 2, 3, 4],
      segmentation: [Array.from({ length: 40 }, (_each, at) => at * 1.5)],
      area: 12,
      iscrowd: 0,
    }));
    const path = await write("large.json", { images, annotations, categories: [{ id: 1, name: "cat" }] });
    const place = join(folder, "large");
    await mkdir(place);
    const flows = { labels: { from: { connection: "in", stream: "large.json" } } };
    const connections = {
      in: { source: "files", path: folder, format: "labels", parse_memory_mb: 128, assets: { keep: false } },
    };
    await writeFile(join(place, "millrace.yaml"), JSON.stringify({ store: "./lake", connections, flows }));
    await using lake = await openLake({ folder: place });
    expect(path).toContain("large.json");
    expect((await lake.run("labels")).written).toBe(150_000);
  });
});
