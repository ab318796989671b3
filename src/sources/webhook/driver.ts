import type { Source, SourceContext } from "../../core/index.ts";
import { openCollected } from "../collected/index.ts";
import type { Options } from "./options.ts";
import { webhookKind } from "./records.ts";

export async function open(options: Options, context: SourceContext): Promise<Source> {
  return openCollected(webhookKind(options), options, context);
}
