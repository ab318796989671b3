import { MillraceError, type Converted, type FileRef } from "../../core/index.ts";
import { AssetRows, type AssetConvertOptions } from "../asset-rows.ts";
import {
  complaintOf,
  createPulse,
  inputOf,
  numberOf,
  probe,
  start,
  tagsOf,
  type MediaStream,
  type Probe,
  type Programs,
  type Running,
} from "../media.ts";
import { headerOf } from "../values.ts";
import { audioColumns, columns } from "./columns.ts";
import type { AudioOptions } from "./index.ts";
import { SampleStore } from "./samples.ts";
import { Meter, type Measures } from "./meter.ts";

/** Only what the user has said comes here. */
type Given = AssetConvertOptions & Partial<AudioOptions> & { programs: Programs };
type Options = AssetConvertOptions & AudioOptions & { programs: Programs };

/** The rows of one recording, by one pass of the decoder. */
export default async function* convert(file: FileRef, options: Given): AsyncIterable<Converted> {
  yield headerOf([...(options.columns ?? columns)]);
  const settled: Options = {
    ...options,
    rows: options.rows ?? "file",
    segment_s: options.segment_s ?? 30,
    measures: options.measures ?? true,
    rate: options.rate ?? 16_000,
    silence_db: options.silence_db ?? -50,
    samples: options.samples ?? false,
  };
  const rows = new AssetRows(file, options, audioColumns);
  const input = inputOf(file.path, options.asset.mediaType);
  const found = await probe(options.programs, input);
  const stream = found.streams.find((each) => each.codec_type === "audio");
  if (stream === undefined) throw new MillraceError("unsupported", "it has no sound");
  const facts = factsOf(found, stream);
  const pulse = createPulse();
  for await (const piece of listen(stream, input, settled)) {
    if (piece !== undefined) {
      rows.add(rowOf(facts, piece));
      const text = rows.take();
      if (text !== undefined) yield text;
    }
    if (pulse()) yield { alive: true };
  }
  const rest = rows.take(true);
  if (rest !== undefined) yield rest;
  yield { rows: rows.rows };
}

function rowOf(facts: ReturnType<typeof factsOf>, { from, to, measures, samples, decoded, problem }: Piece): unknown[] {
  const { loudness, peak, rms, silence, clipping } = measures;
  const { tags } = facts;
  return [
    from,
    to,
    facts.container,
    facts.codec,
    facts.duration,
    decoded,
    facts.rate,
    facts.channels,
    facts.layout,
    facts.bitRate,
    loudness,
    peak,
    rms,
    silence,
    clipping,
    tags.get("title") ?? null,
    tags.get("artist") ?? null,
    tags.get("language") ?? null,
    tags.size === 0 ? null : JSON.stringify(Object.fromEntries(tags)),
    problem,
    samples,
  ];
}

function factsOf({ format }: Probe, stream: MediaStream) {
  return {
    container: format.format_name ?? null,
    codec: stream.codec_name ?? null,
    duration: numberOf(format.duration),
    rate: numberOf(stream.sample_rate),
    channels: stream.channels ?? null,
    layout: stream.channel_layout ?? null,
    bitRate: numberOf(stream.bit_rate) ?? numberOf(format.bit_rate),
    tags: tagsOf(format.tags, stream.tags),
  };
}

interface Piece {
  from: number;
  to: number;
  measures: Measures;
  samples: Buffer | null;
  /** Of the whole, once it is known. */
  decoded: number | null;
  problem: string | null;
}

const nothing: Measures = { loudness: null, peak: null, rms: null, silence: null, clipping: null };
/** Decodes once: as stored to be measured, and at `rate` to be kept. Gives each piece when it is complete, and nothing meanwhile. */
async function* listen(
  stream: MediaStream,
  input: readonly string[],
  options: Options,
): AsyncGenerator<Piece | undefined> {
  const rate = numberOf(stream.sample_rate) ?? 0;
  const channels = stream.channels ?? 0;
  if (stream.codec_name === undefined || rate <= 0 || channels <= 0) {
    const problem = "there is no decoder for it";
    yield { from: 0, to: 0, measures: nothing, samples: null, decoded: 0, problem };
    return;
  }
  const keeps = options.samples === true && (options.columns ?? columns).some(({ name }) => name === "samples");
  if (!options.measures && !keeps) {
    yield { from: 0, to: 0, measures: nothing, samples: null, decoded: null, problem: null };
    return;
  }
  const measured = ["-map", `0:${stream.index}`, "-ar", `${rate}`, "-ac", `${channels}`, "-f", "f32le", "pipe:1"];
  const kept = ["-map", `0:${stream.index}`, "-ac", "1", "-ar", `${options.rate}`, "-f", "s16le", "pipe:3"];
  const run = (...wanted: string[][]): Running =>
    start(
      options.programs.ffmpeg,
      ["-nostdin", "-v", "error", "-hide_banner", ...input, ...wanted.flat()],
      wanted.length,
    );
  if (!options.measures) {
    yield* cut(run([...kept.slice(0, -1), "pipe:1"]), options);
    return;
  }
  const running = keeps ? run(measured, kept) : run(measured);
  const store = new SampleStore(options.rate);
  const collecting = keeps ? store.fill(running.outputs[1]! as AsyncIterable<Buffer>) : Promise.resolve();
  collecting.catch(() => undefined);

  const meter = new Meter(rate, channels, options.silence_db);
  const pieceFrames = options.rows === "file" ? Infinity : Math.max(1, Math.round(options.segment_s * rate));
  const pieces: Pick<Piece, "from" | "to" | "measures">[] = [];
  let frames = 0;
  let begun = 0;
  const end = (): void => {
    pieces.push({ from: begun / rate, to: frames / rate, measures: meter.take() });
    begun = frames;
  };
  const problem = (): string | null => complaintOf(running.words()) ?? null;
  for await (const samples of wholeFrames(running.outputs[0]! as AsyncIterable<Buffer>, channels)) {
    for (let at = 0; at < samples.length;) {
      const take = Math.min(samples.length - at, (begun + pieceFrames - frames) * channels);
      meter.add(samples.subarray(at, at + take));
      at += take;
      frames += take / channels;
      if (frames - begun === pieceFrames) end();
    }
    store.assertRoom();
    yield undefined;
    // The last one may have more to come.
    while (pieces.length > 1 && (!keeps || store.reaches(pieces[0]!.to))) {
      const piece = pieces.shift()!;
      yield { ...piece, samples: keeps ? store.take(piece.to) : null, decoded: null, problem: problem() };
    }
  }
  await collecting;
  await running.ended;
  store.assertRoom();
  if (frames > begun || pieces.length === 0) end();
  if (frames === 0 && problem() !== null) throw new MillraceError("parse", problem()!);
  for (const [index, piece] of pieces.entries()) {
    // The last has what the resampler had still to give.
    const samples = keeps ? store.take(index === pieces.length - 1 ? Infinity : piece.to) : null;
    yield { ...piece, samples, decoded: frames / rate, problem: problem() };
  }
}

/** As `listen`, of the samples that are kept alone. */
async function* cut(running: Running, { rate, rows, segment_s: length }: Options): AsyncGenerator<Piece | undefined> {
  const store = new SampleStore(rate);
  const problem = (): string | null => complaintOf(running.words()) ?? null;
  const piece = (to: number, decoded: number | null): Piece => {
    const from = store.seconds;
    const samples = store.take(to);
    return { from, to: store.seconds, measures: nothing, samples, decoded, problem: problem() };
  };
  for await (const chunk of running.outputs[0]! as AsyncIterable<Buffer>) {
    store.add(chunk);
    store.assertRoom();
    yield undefined;
    // A piece more than is given: the last is given when all of it is known.
    while (rows === "segment" && store.reaches(store.seconds + 2 * length)) yield piece(store.seconds + length, null);
  }
  await running.ended;
  if (rows === "segment") while (store.exceeds(store.seconds + length)) yield piece(store.seconds + length, null);
  const last = piece(Infinity, 0);
  if (last.to === 0 && last.problem !== null) throw new MillraceError("parse", last.problem);
  yield { ...last, decoded: last.to };
}

/** Bytes as samples, in pieces that end where a frame does. */
async function* wholeFrames(chunks: AsyncIterable<Buffer>, channels: number): AsyncGenerator<Float32Array> {
  const frameBytes = 4 * channels;
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of chunks) {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    const whole = bytes.length - (bytes.length % frameBytes);
    rest = bytes.subarray(whole);
    if (whole === 0) continue;
    // Floats must begin at a multiple of four.
    const aligned = bytes.byteOffset % 4 === 0 ? bytes : Buffer.from(bytes.subarray(0, whole));
    yield new Float32Array(aligned.buffer, aligned.byteOffset, whole / 4);
  }
}
