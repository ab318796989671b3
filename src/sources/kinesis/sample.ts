import { Pace } from "../../protocols/aws/pace.ts";
import { unpacked } from "./aggregate.ts";
import type { KinesisOptions } from "./index.ts";
import type { StreamName } from "./position.ts";
import { pollShard, type StreamRecord } from "./reader.ts";
import type { Service } from "./service.ts";

/** Values that the columns are inferred from: of each shard so many at most, and so many bytes in all. */
const valuesOfShard = 500;
const sampleBytes = 8 * 1024 ** 2;
/** Shards that are looked into where nothing else is read, and answers of each. */
const shardsLookedAt = 8;
const answersLookedAt = 5;

/** Some values of what passes by. */
export class Sample {
  readonly values: Uint8Array[] = [];
  readonly #counts = new Map<string, number>();
  #bytes = 0;

  add(shard: string, records: readonly StreamRecord[]): void {
    let count = this.#counts.get(shard) ?? 0;
    for (const { data } of records) {
      if (count >= valuesOfShard || this.#bytes >= sampleBytes) break;
      for (const value of valuesIn(data)) {
        this.values.push(value);
        this.#bytes += value.length;
        count++;
      }
    }
    this.#counts.set(shard, count);
  }
}

/** Whoever reads it says what is wrong with it. */
function valuesIn(data: Uint8Array): Uint8Array[] {
  try {
    return unpacked(data)?.map((record) => record.data) ?? [data];
  } catch {
    return [];
  }
}

/** Values of the oldest records of some shards. */
export async function sampleOf(
  service: Service,
  stream: StreamName,
  options: KinesisOptions,
  signal: AbortSignal | undefined,
): Promise<Uint8Array[]> {
  const sample = new Sample();
  const shards = await service.shards(stream, signal);
  await Promise.all(
    shards.slice(-shardsLookedAt).map(async ({ id }) => {
      const pace = new Pace(options.calls_per_s, options.bytes_per_s);
      const reader = pollShard(service, stream, id, { at: "horizon" }, pace);
      for (let answer = 0; answer < answersLookedAt; answer++) {
        const page = await reader.next(valuesOfShard, signal);
        sample.add(id, page.records);
        if (page.records.length > 0 || page.ended !== undefined || page.behindMs === 0) return;
      }
    }),
  );
  return sample.values;
}
