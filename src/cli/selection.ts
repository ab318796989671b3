import type { Selection } from "../pipeline/index.ts";

/** Flags that choose rows. */
export interface SelectionFlags {
  readonly split?: string | undefined;
  readonly folds?: number | undefined;
  readonly fold?: number | undefined;
  readonly gap?: string | undefined;
}

export function selectionOf({ split, folds, fold, gap }: SelectionFlags): Selection {
  return {
    ...(split === undefined ? {} : { split }),
    ...(folds === undefined ? {} : { folds }),
    ...(fold === undefined ? {} : { fold }),
    ...(gap === undefined ? {} : { gap }),
  };
}
