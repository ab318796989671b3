import { once } from "node:events";
import { MillraceError } from "../../core/index.ts";
import { parseImage } from "../../feed/images/spec.ts";
import type { FeedOptions, Selection } from "../../pipeline/index.ts";
import type { Context, GlobalFlags } from "../context.ts";
import { selectionOf, type SelectionFlags } from "../selection.ts";
import { withLake } from "../session.ts";
import { count } from "../text/numbers.ts";

interface Flags extends GlobalFlags, SelectionFlags {
  readonly batch?: number | undefined;
  readonly seed?: number | undefined;
  readonly epochs?: number | undefined;
  readonly columns?: string | undefined;
  readonly where?: string | undefined;
  readonly block?: number | undefined;
  readonly image?: readonly string[] | undefined;
  readonly onBad?: "error" | "skip" | undefined;
  readonly weights?: string | undefined;
  readonly keepLast: boolean;
  readonly repeat: boolean;
  readonly port?: number | undefined;
  readonly socket?: string | undefined;
}

export default async function feed(this: Context, flags: Flags, ...references: string[]): Promise<void> {
  const { output, signal } = this;
  if (flags.repeat && flags.epochs !== undefined) {
    throw new MillraceError("usage", "--repeat goes on for ever, --epochs does not", { hint: "give one of them" });
  }
  await withLake(this, flags, async (lake) => {
    await using opened = await lake.feed(references.map(weighted), { ...optionsOf(flags), signal });
    const { serveFeed } = await import("../../feed/serve.ts");
    await using server = await serveFeed(opened, {
      ...(flags.port === undefined ? {} : { port: flags.port }),
      ...(flags.socket === undefined ? {} : { socket: flags.socket }),
    });
    const { datasets, rows, batchSize, stepsPerEpoch, steps } = opened;
    if (flags.json)
      output.json({
        url: server.url,
        datasets,
        rows,
        batch: batchSize,
        stepsPerEpoch,
        steps: Number.isFinite(steps) ? steps : null,
      });
    else {
      const names = datasets.map(({ name, version }) => `${name}@${version}`).join(" + ");
      output.print(`${names}${flags.split === undefined ? "" : ` ${flags.split}`} at ${server.url}`);
      output.print(`  ${count(rows)} samples, ${count(stepsPerEpoch)} steps of ${count(batchSize)} an epoch`);
      for (const { name, version, skipped } of datasets) {
        if (skipped)
          output.note(`${count(skipped)} rows of ${name}@${version} are left out: their images cannot be decoded`);
      }
      output.print(snippet(server.url));
      output.print("  Ctrl-C ends it");
      if (opened.unleased) output.note(`gc does not know that it is read: ${opened.unleased.message}`);
    }
    if (!signal.aborted) await once(signal, "abort");
  });
}

function optionsOf(flags: Flags): FeedOptions & Selection {
  return {
    ...selectionOf(flags),
    ...(flags.batch === undefined ? {} : { batch: flags.batch }),
    ...(flags.seed === undefined ? {} : { seed: flags.seed }),
    ...(flags.repeat ? { epochs: Infinity } : flags.epochs === undefined ? {} : { epochs: flags.epochs }),
    ...(flags.columns === undefined ? {} : { columns: flags.columns.split(",").map((name) => name.trim()) }),
    ...(flags.where === undefined ? {} : { where: flags.where }),
    ...(flags.image === undefined || flags.image.length === 0 ? {} : { images: imagesOf(flags.image) }),
    ...(flags.onBad === undefined ? {} : { onBad: flags.onBad }),
    ...(flags.weights === undefined ? {} : { weights: flags.weights }),
    ...(flags.block === undefined ? {} : { shuffle: { kind: "block", block: flags.block, window: 16 } }),
    dropLast: !flags.keepLast,
  };
}

const imagesOf = (texts: readonly string[]): NonNullable<FeedOptions["images"]> =>
  Object.fromEntries(texts.map(parseImage).map(({ column, options }) => [column, options]));

/** `flights@3=2`: with the weight 2. */
function weighted(reference: string): { dataset: string; weight?: number } {
  const [dataset = "", weight] = reference.split("=");
  if (weight === undefined) return { dataset };
  const value = Number(weight);
  if (value > 0) return { dataset, weight: value };
  throw new MillraceError("usage", `\`${weight}\` is no weight`, { hint: "write a number above 0: `flights@3=2`" });
}

function snippet(url: string): string {
  return [
    "",
    "  Python:  from millrace import Feed",
    `           for batch in Feed("${url}"):          # pyarrow.RecordBatch`,
    '               x = batch["column"].to_numpy()',
    "  PyTorch: torch.utils.data.DataLoader(Feed(…).torch(), batch_size=None, num_workers=2)",
    "  JAX:     {name: jnp.asarray(batch[name]) for name in batch.schema.names}",
    '  Node:    for await (const batch of await lake.feed("…"))',
    "",
  ].join("\n");
}
