import { sourceContract } from "millrace/testing";
import { memory, streams } from "./memory.ts";

sourceContract({
  name: "memory",
  definition: memory,
  start: async () => ({
    options: {},
    create: async (name, rows) => {
      streams.set(name, [...rows]);
      return { stream: name };
    },
    append: async (name, rows) => void streams.get(name)?.push(...rows),
    takesName: () => true,
    [Symbol.asyncDispose]: async () => undefined,
  }),
});
