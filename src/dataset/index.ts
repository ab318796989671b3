export { openCatalog } from "./catalog.ts";
export { runKey } from "./commit.ts";
export { cursorPrefix } from "./cursor.ts";
export { assignFieldIds } from "./evolve.ts";
export type * from "./dataset.ts";
export { openTable } from "./open.ts";
