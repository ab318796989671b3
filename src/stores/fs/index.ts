import * as z from "zod";
import { defineStore } from "../../core/index.ts";

export default defineStore({
  name: "fs",
  title: "Local or mounted file system",
  summary: "A folder on a local disk or a mounted file system that has hard links and fsync.",
  options: z.strictObject({
    path: z
      .string()
      .min(1)
      .describe("Folder that holds the datasets; made when absent. Relative to the folder of the configuration file."),
  }),
  needs: [
    "write permission on the folder",
    "a file system with hard links (ext4, xfs, btrfs, APFS, NTFS, NFS; not FAT)",
  ],
  capabilities: { local: true, durable: false, archive: false },
  examples: [{ title: "A lake beside the configuration", yaml: "store: ./lake\n" }],
  load: async () => import("./driver.ts"),
});
