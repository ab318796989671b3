import { MillraceError } from "../../core/index.ts";

/** How the images of a column become tensors of bytes. */
export interface ImageOptions {
  /** Pixels. */
  width: number;
  /** Pixels. */
  height: number;
  /** 3: red, green, blue; 1: grey. Default 3. */
  channels?: 1 | 3;
  /** `hwc`: height × width × channels; `chw`: channels × height × width. Default `hwc`. */
  layout?: "hwc" | "chw";
  /** `cover` cuts off what sticks out, `contain` adds black borders, `fill` distorts. Default `cover`. */
  fit?: "cover" | "contain" | "fill";
}

const largestSide = 8192;

/** All of it said, and valid. Throws `usage`. */
export function settledImage(column: string, options: ImageOptions): Required<ImageOptions> {
  const settled = { channels: 3, layout: "hwc", fit: "cover", ...options } as const;
  for (const side of [settled.width, settled.height]) {
    if (Number.isSafeInteger(side) && side > 0 && side <= largestSide) continue;
    throw new MillraceError("usage", `${side} is no side of an image for \`${column}\``, {
      where: { column },
      hint: `give 1 to ${largestSide} pixels`,
    });
  }
  return settled;
}

/** Of the tensor of one image. */
export function shapeOf({ width, height, channels, layout }: Required<ImageOptions>): [number, number, number] {
  return layout === "hwc" ? [height, width, channels] : [channels, height, width];
}

const words = {
  hwc: { layout: "hwc" },
  chw: { layout: "chw" },
  grey: { channels: 1 },
  cover: { fit: "cover" },
  contain: { fit: "contain" },
  fill: { fit: "fill" },
} as const;

/** `photo=224x224,chw,grey,contain`. Throws `usage`. */
export function parseImage(text: string): { column: string; options: ImageOptions } {
  const parsed = /^(.+)=(\d{1,5})x(\d{1,5})((?:,[a-z]+)*)$/.exec(text);
  const named = parsed?.[4]?.split(",").slice(1) ?? [];
  const unknown = named.find((word) => !Object.hasOwn(words, word));
  if (parsed === null || unknown !== undefined) {
    throw new MillraceError(
      "usage",
      `\`${text}\` does not say how an image is to be${unknown ? `: \`${unknown}\`` : ""}`,
      {
        hint: `write column=WIDTHxHEIGHT, and of ${Object.keys(words).join(", ")} what you need: photo=224x224,chw`,
      },
    );
  }
  const [, column, width, height] = parsed as unknown as [string, string, string, string];
  const rest = Object.assign({}, ...named.map((word) => words[word as keyof typeof words])) as Partial<ImageOptions>;
  return { column, options: { width: Number(width), height: Number(height), ...rest } };
}
