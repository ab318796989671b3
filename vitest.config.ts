import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 60_000,
    hookTimeout: 240_000,
    pool: "forks",
    // One more than there are cores: servers and cameras make tests wait.
    maxWorkers: 3,
    reporters: ["default", "./test/contracts/reporter.ts"],
  },
});
