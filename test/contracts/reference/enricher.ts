import * as z from "zod";
import {
  defineEnricher,
  MillraceError,
  throwIfAborted,
  type Enriched,
  type Enricher,
  type EnricherDefinition,
  type EnricherInput,
} from "../../../src/core/index.ts";
import { hashOf, type EnricherContract } from "../enricher.ts";

export interface EnricherDefects {
  /** The name of the model leaves out a setting that changes answers. */
  namesTooLittle?: boolean;
  /** Answers as they come, the shortest text first. */
  losesOrder?: boolean;
  /** One input that is not fit ends the call. */
  failsWhole?: boolean;
  /** Estimates half of what it costs. */
  estimatesTooLittle?: boolean;
  /** Spends while it checks. */
  spendsOnCheck?: boolean;
  /** Does not listen to its caller. */
  ignoresAbort?: boolean;
}

const price = 2;
const input = (text: string): EnricherInput => ({ hash: hashOf(text), values: { text } });

/** Counts characters or words for money, to try the contract on. */
export function referenceEnricher(defects: EnricherDefects = {}): EnricherContract {
  const service = { asked: 0, failing: false };
  const definition = defineEnricher({
    name: "reference",
    title: "Reference",
    summary: "Counts characters or words.",
    options: z.strictObject({ unit: z.enum(["characters", "words"]).describe("What is counted.") }),
    needs: [],
    capabilities: { input: "rows", deterministic: true, paid: true, maximumBatch: 2 },
    examples: [],
    load: async () => ({ open: async ({ unit }) => openEnricher(unit, service, defects) }),
  });
  return {
    name: "reference",
    definition: definition as unknown as EnricherDefinition,
    fails: true,
    start: async () => ({
      options: { unit: "characters" },
      otherOptions: { unit: "words" },
      columns: [{ name: "text", type: "string" }],
      good: ["a long text", "b", "middle", "two words"].map(input),
      unfit: [input(""), { hash: hashOf("nothing"), values: {} }],
      asked: () => service.asked,
      async fail() {
        service.failing = true;
      },
      [Symbol.asyncDispose]: async () => undefined,
    }),
  };
}

function openEnricher(
  unit: "characters" | "words",
  service: { asked: number; failing: boolean },
  defects: EnricherDefects,
): Enricher {
  return {
    model: defects.namesTooLittle ? "count/1" : `count/1?unit=${unit}`,
    columns: () => [{ name: "count", type: "int" }],
    async check(signal) {
      throwIfAborted(signal);
      if (defects.spendsOnCheck) service.asked++;
    },
    estimate: (inputs) => ({ cost: inputs.length * (defects.estimatesTooLittle ? price / 2 : price), currency: "USD" }),
    async enrich(inputs, { signal }) {
      if (!defects.ignoresAbort) throwIfAborted(signal);
      if (service.failing) {
        service.failing = false;
        throw new MillraceError("unreachable", "the service is away", { temporary: true });
      }
      service.asked += inputs.length;
      const answers = inputs.map(({ values }): Enriched => {
        const text = values?.["text"];
        if (typeof text === "string" && text !== "") {
          return { values: [unit === "words" ? text.split(" ").length : text.length], cost: price };
        }
        if (defects.failsWhole) throw new MillraceError("value", "there is no text");
        return { rejected: "there is no text" };
      });
      return defects.losesOrder ? answers.toSorted((left, right) => first(left) - first(right)) : answers;
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
}

const first = (answer: Enriched): number => ("values" in answer ? Number(answer.values[0]) : 0);
