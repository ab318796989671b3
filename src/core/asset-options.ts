import * as z from "zod";

/** What becomes of the bytes of assets. */
export const assetsOptions = z.strictObject({
  inline_max_bytes: z
    .number()
    .int()
    .nonnegative()
    .default(64 * 1024)
    .describe(
      "Assets up to this size have their bytes in the row, larger ones as an object in the store. Default 64 KiB.",
    ),
  keep: z
    .boolean()
    .default(true)
    .describe("Keep the bytes with the dataset. With `false` it holds what was read of them only. Default true."),
});
