import { expect } from "vitest";
import { pythonEnvironment, runPython } from "./python.ts";

interface Shape {
  type: string;
  members?: Record<string, { shape: string; location?: string; locationName?: string }>;
  member?: { shape: string };
  required?: string[];
  enum?: string[];
  max?: number;
  min?: number;
  pattern?: string;
}
interface Model {
  operations: Record<
    string,
    { http: { method: string; requestUri: string }; input?: { shape: string }; output?: { shape: string } }
  >;
  shapes: Record<string, Shape>;
}

/** AWS's own description of a service, from botocore: what our stubs are held to. */
export interface AwsModel {
  /** The operation behind a path: `POST /listFragments`. */
  operationAt(method: string, path: string): string | undefined;
  /** Fails for a request or an answer that is not as the service describes it. */
  assertInput(operation: string, value: unknown): void;
  assertOutput(operation: string, value: unknown): void;
}

/** Throws `unreachable` when it cannot be had. */
export async function requireAwsModel(service: string): Promise<AwsModel> {
  const python = await pythonEnvironment(["botocore==1.40.0"]);
  const script = `
import sys, json
from botocore.loaders import Loader
print(json.dumps(Loader().load_service_model(sys.argv[1], "service-2")))
`;
  const model = JSON.parse(await runPython(python, script, [service])) as Model;
  const check = (name: string, value: unknown, path: string): void => {
    const shape = model.shapes[name]!;
    switch (shape.type) {
      case "structure": {
        expect(value, path).toBeTypeOf("object");
        const given = value as Record<string, unknown>;
        const members = shape.members ?? {};
        expect(
          Object.keys(given).filter((key) => !Object.hasOwn(members, key)),
          `${path}: unknown`,
        ).toEqual([]);
        expect(
          (shape.required ?? []).filter((key) => given[key] === undefined),
          `${path}: missing`,
        ).toEqual([]);
        for (const [key, item] of Object.entries(given))
          if (item !== undefined) check(members[key]!.shape, item, `${path}.${key}`);
        return;
      }
      case "list":
        expect(Array.isArray(value), path).toBe(true);
        expect((value as unknown[]).length, path).toBeLessThanOrEqual(shape.max ?? Infinity);
        for (const item of value as unknown[]) check(shape.member!.shape, item, `${path}[]`);
        return;
      case "string":
        expect(value, path).toBeTypeOf("string");
        if (shape.enum !== undefined) expect(shape.enum, path).toContain(value);
        if (shape.pattern !== undefined) expect(value, path).toMatch(new RegExp(`^(?:${shape.pattern})$`));
        return;
      case "integer":
      case "long":
      case "timestamp":
        expect(value, path).toBeTypeOf("number");
        expect(value, path).toBeLessThanOrEqual(shape.max ?? Infinity);
        return;
      default:
        return;
    }
  };
  return {
    operationAt: (method, path) =>
      Object.keys(model.operations).find((name) => {
        const { http } = model.operations[name]!;
        return http.method === method && http.requestUri === path;
      }),
    assertInput: (operation, value) => check(model.operations[operation]!.input!.shape, value, operation),
    assertOutput: (operation, value) => check(model.operations[operation]!.output!.shape, value, operation),
  };
}
