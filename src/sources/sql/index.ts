export * from "../../protocols/sql/names.ts";
export * from "./position.ts";
