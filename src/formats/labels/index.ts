import * as z from "zod";
import { defineFormat } from "../../core/index.ts";

export const labelsOptions = z.strictObject({
  classes: z
    .array(z.string())
    .optional()
    .describe("Names of the classes by their numbers, for YOLO, whose files hold numbers only. Default: the numbers."),
  voc_first_pixel: z
    .union([z.literal(0), z.literal(1)])
    .default(1)
    .describe(
      "Number of the first pixel in Pascal VOC. 1 and both corners included, as its makers have it; with 0, as many tools write it, the second corner is not part of the box. Default 1.",
    ),
  annotators: z
    .enum(["keep", "drop"])
    .default("keep")
    .describe(
      "`drop` leaves out who labelled. The bytes of the file still say it: set `assets: { keep: false }` too. Default `keep`.",
    ),
});
export type LabelsOptions = z.output<typeof labelsOptions>;

export default defineFormat({
  name: "labels",
  title: "Labels of images",
  summary:
    "Boxes, outlines, masks, key points and classes of COCO, YOLO, Pascal VOC, Label Studio and CVAT, in one form; one row a label.",
  options: labelsOptions,
  extensions: ["json", "xml", "txt"],
  mediaTypes: ["application/json", "application/xml", "text/plain"],
  needs: [],
  capabilities: { read: true, write: false, rejects: true, assets: true },
  examples: [
    {
      title: "COCO, joined to its photographs",
      yaml: 'flows:\n  photos:\n    from: { path: photos/**/*.jpg, format: images }\n  boxes:\n    from: { path: annotations/instances.json, format: labels, assets: { keep: false } }\n    mode: replace\n    transform: "SELECT i.*, p.sha256 AS photo FROM input i JOIN photos p ON parse_filename(p.uri, true) = i.stem"',
    },
    {
      title: "A folder of YOLO",
      yaml: "flows:\n  boxes:\n    from: { path: labels/**/*.txt, format: labels, options: { classes: [car, bus, bicycle] } }",
    },
  ],
  load: () => import("./driver.ts"),
});
