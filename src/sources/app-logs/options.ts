import * as z from "zod";
import { collectedShape, ipOption, keysOption } from "../collected/options.ts";

export const options = z.strictObject({
  keys: keysOption,
  max_bytes: z
    .int()
    .min(1_024)
    .max(64 * 1024 ** 2)
    .default(4 * 1024 ** 2)
    .describe("How large one batch may be, unpacked. Default 4 MiB."),
  device: z
    .string()
    .min(1)
    .default("device_id")
    .describe(
      "Member of a record, or attribute of an OpenTelemetry resource, that names the device; `device.id` and `service.instance.id` are known too. Default `device_id`.",
    ),
  sequence: z
    .string()
    .min(1)
    .default("seq")
    .describe(
      "Member or attribute that counts the records of a device: one that comes again with the same number is no second row. Default `seq`.",
    ),
  remember: z
    .string()
    .regex(/^\d+(\.\d+)?\s*[smhdw]$/, "is a time such as `7d` or `12h`")
    .default("30d")
    .describe("How long the numbers of devices are remembered, for those that were offline. Default `30d`."),
  ip: ipOption,
  ...collectedShape,
});
export type Options = z.output<typeof options>;
