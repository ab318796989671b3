/** What sources have in common that others send to: `clickstream`, `app-logs`, `webhook`, `form`. */
export * from "./address.ts";
export * from "./json.ts";
export * from "./options.ts";
export * from "./records.ts";
export * from "./replies.ts";
export * from "./source.ts";
export * from "./time.ts";
