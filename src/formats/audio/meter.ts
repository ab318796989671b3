/** Measures of a stretch of sound. Decibels are of full scale. */
export interface Measures {
  /** LUFS. */
  loudness: number | null;
  peak: number | null;
  rms: number | null;
  silence: number | null;
  clipping: number | null;
}

/** One second-order section, direct form II transposed. */
interface Section {
  b0: number;
  b1: number;
  b2: number;
  a1: number;
  a2: number;
}

/**
 * The two filters of ITU-R BS.1770-4, annex 1: a shelf for the head and a high-pass. The recommendation gives them for 48 kHz;
 * these are the analogue ones that they come from, so that they hold for every rate.
 */
function weighting(rate: number): [Section, Section] {
  const shelf = ((): Section => {
    const k = Math.tan((Math.PI * 1681.974450955533) / rate);
    const q = 0.7071752369554196;
    const high = 10 ** (3.999843853973347 / 20);
    const band = high ** 0.4996667741545416;
    const a0 = 1 + k / q + k * k;
    return {
      b0: (high + (band * k) / q + k * k) / a0,
      b1: (2 * (k * k - high)) / a0,
      b2: (high - (band * k) / q + k * k) / a0,
      a1: (2 * (k * k - 1)) / a0,
      a2: (1 - k / q + k * k) / a0,
    };
  })();
  const pass = ((): Section => {
    const k = Math.tan((Math.PI * 38.13547087602444) / rate);
    const q = 0.5003270373238773;
    const a0 = 1 + k / q + k * k;
    return { b0: 1, b1: -2, b2: 1, a1: (2 * (k * k - 1)) / a0, a2: (1 - k / q + k * k) / a0 };
  })();
  return [shelf, pass];
}

/** Front left, right, centre, low frequencies, then those at the sides and behind: annex 1, table 3. */
function gainOf(channel: number, channels: number): number {
  if (channels < 6) return 1;
  return channel === 3 ? 0 : channel > 3 ? 1.41 : 1;
}

const decibels = (power: number): number | null => (power > 0 ? 10 * Math.log10(power) : null);
/** A sample of 16 bits at its largest. */
const fullScale = 32_767 / 32_768;

/** Measures sound as it comes. The filters go on over the ends of stretches. */
export class Meter {
  readonly #channels: number;
  readonly #sections: [Section, Section];
  /** Four numbers a channel: the memory of both filters. */
  readonly #state: Float64Array;
  /** Frames of 100 ms, of which loudness is made, and of 20 ms, of which silence is. */
  readonly #stepFrames: number;
  readonly #windowFrames: number;
  readonly #silent: number;

  #steps: number[] = [];
  #step = 0;
  #inStep = 0;
  #window = 0;
  #inWindow = 0;
  #windows = 0;
  #silentWindows = 0;
  #peak = 0;
  #power = 0;
  #clipped = 0;
  #samples = 0;

  /** `silence` in decibels. */
  constructor(rate: number, channels: number, silence: number) {
    this.#channels = channels;
    this.#sections = weighting(rate);
    this.#state = new Float64Array(4 * channels);
    this.#stepFrames = Math.max(1, Math.round(rate / 10));
    this.#windowFrames = Math.max(1, Math.round(rate / 50));
    this.#silent = 10 ** (silence / 10);
  }

  /** Samples of all channels, frame by frame. */
  add(samples: Float32Array): void {
    const frames = samples.length / this.#channels;
    for (let at = 0; at < frames;) {
      const count = Math.min(frames - at, this.#stepFrames - this.#inStep, this.#windowFrames - this.#inWindow);
      for (let channel = 0; channel < this.#channels; channel++) this.#addChannel(samples, at, count, channel);
      at += count;
      this.#inStep += count;
      this.#inWindow += count;
      if (this.#inStep === this.#stepFrames) this.#endStep();
      if (this.#inWindow === this.#windowFrames) this.#endWindow();
    }
    this.#samples += samples.length;
  }

  #addChannel(samples: Float32Array, from: number, count: number, channel: number): void {
    const channels = this.#channels;
    const [shelf, pass] = this.#sections;
    const { b0, b1, b2, a1, a2 } = shelf;
    const { a1: c1, a2: c2 } = pass;
    const state = this.#state;
    const place = 4 * channel;
    let s1 = state[place]!;
    let s2 = state[place + 1]!;
    let t1 = state[place + 2]!;
    let t2 = state[place + 3]!;
    let power = 0;
    let weighted = 0;
    let peak = this.#peak;
    for (let index = from * channels + channel, left = count; left > 0; left--, index += channels) {
      const x = samples[index]!;
      const size = x < 0 ? -x : x;
      if (size > peak) peak = size;
      if (size >= fullScale) this.#clipped++;
      power += x * x;
      const y = b0 * x + s1;
      s1 = b1 * x - a1 * y + s2;
      s2 = b2 * x - a2 * y;
      const z = y + t1;
      t1 = -2 * y - c1 * z + t2;
      t2 = y - c2 * z;
      weighted += z * z;
    }
    // What is no number, as damaged floats give it, must not stay in the filters for ever.
    const sound = Number.isFinite(s1 + s2 + t1 + t2);
    state[place] = sound ? s1 : 0;
    state[place + 1] = sound ? s2 : 0;
    state[place + 2] = sound ? t1 : 0;
    state[place + 3] = sound ? t2 : 0;
    this.#peak = Number.isFinite(peak) ? peak : this.#peak;
    if (Number.isFinite(power)) {
      this.#power += power;
      this.#window += power;
    }
    if (sound && Number.isFinite(weighted)) this.#step += gainOf(channel, channels) * weighted;
  }

  #endStep(): void {
    this.#steps.push(this.#step / this.#stepFrames);
    this.#step = 0;
    this.#inStep = 0;
  }

  #endWindow(): void {
    this.#windows++;
    if (this.#window / (this.#inWindow * this.#channels) < this.#silent) this.#silentWindows++;
    this.#window = 0;
    this.#inWindow = 0;
  }

  /** What there was since the last time. */
  take(): Measures {
    if (this.#inWindow > 0) this.#endWindow();
    const samples = this.#samples;
    const measures: Measures = {
      loudness: integrated(this.#steps),
      peak: decibels(this.#peak ** 2),
      rms: samples === 0 ? null : decibels(this.#power / samples),
      silence: this.#windows === 0 ? null : this.#silentWindows / this.#windows,
      clipping: samples === 0 ? null : this.#clipped / samples,
    };
    this.#steps = [];
    this.#step = this.#inStep = this.#windows = this.#silentWindows = 0;
    this.#peak = this.#power = this.#clipped = this.#samples = 0;
    return measures;
  }
}

/** BS.1770-4, annex 1, equations 3 to 7: blocks of 400 ms every 100 ms, gated at -70 LUFS and 10 LU below what is left. */
function integrated(steps: readonly number[]): number | null {
  const blocks: number[] = [];
  for (let index = 3; index < steps.length; index++) {
    blocks.push((steps[index]! + steps[index - 1]! + steps[index - 2]! + steps[index - 3]!) / 4);
  }
  const mean = (some: readonly number[]): number => some.reduce((sum, value) => sum + value, 0) / some.length;
  const above = (limit: number): number[] => blocks.filter((block) => block > limit);
  const absolute = above(10 ** ((-70 + 0.691) / 10));
  if (absolute.length === 0) return null;
  const relative = above(Math.max(10 ** ((-70 + 0.691) / 10), mean(absolute) / 10));
  return -0.691 + 10 * Math.log10(mean(relative));
}
