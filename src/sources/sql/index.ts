export * from "./names.ts";
export * from "./position.ts";
