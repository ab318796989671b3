import { MillraceError, type Column, type CursorValue } from "../../core/index.ts";

export const columnsOf = (prefix: string): Column[] => [
  { name: `${prefix}text`, type: "string", doc: "All that is said." },
  { name: `${prefix}language`, type: "string", doc: "`en-US`: as configured, or as the service found out." },
  { name: `${prefix}confidence`, type: "double", doc: "How sure the service is of its words on average, 0 to 1." },
  {
    name: `${prefix}segments`,
    type: {
      type: "list",
      element: {
        type: "struct",
        fields: [
          { name: "speaker", type: "string" },
          { name: "start_s", type: "double" },
          { name: "end_s", type: "double" },
          { name: "text", type: "string" },
          { name: "sentiment", type: "string" },
        ],
      },
    },
    doc: "Turns: who speaks when, in seconds; `sentiment` of call analytics.",
  },
];

interface Item {
  start_time?: string;
  end_time?: string;
  type?: string;
  alternatives?: { confidence?: string; content?: string }[];
  speaker_label?: string;
  channel_label?: string;
}

/** What a transcription job writes. */
interface Results {
  language_code?: string;
  transcripts?: { transcript?: string }[];
  items?: Item[];
  audio_segments?: {
    transcript?: string;
    start_time?: string;
    end_time?: string;
    speaker_label?: string;
    channel_label?: string;
  }[];
}

/** What a call analytics job writes. */
interface Turn {
  ParticipantRole?: string;
  BeginOffsetMillis?: number;
  EndOffsetMillis?: number;
  Content?: string;
  Sentiment?: string;
  Items?: { Confidence?: string; Content?: string }[];
}

/** Silence that parts two turns of the same speaker, seconds. */
const pause = 1.5;

/** The values of `columnsOf`. Throws `parse` for what is no transcript. */
export function valuesOf(text: string, language: string | undefined): CursorValue[] {
  let document: { results?: Results; Transcript?: Turn[]; LanguageCode?: string };
  try {
    document = JSON.parse(text) as typeof document;
  } catch (cause) {
    throw new MillraceError("parse", "the transcript is no JSON", { cause });
  }
  if (Array.isArray(document.Transcript)) return ofCall(document.Transcript, document.LanguageCode ?? language);
  const { results } = document;
  if (results?.transcripts === undefined) throw new MillraceError("parse", "the transcript holds no text");
  const items = results.items ?? [];
  const sure = items.flatMap(({ alternatives, type }) =>
    type === "punctuation" ? [] : (alternatives ?? []).slice(0, 1).map(({ confidence }) => Number(confidence)),
  );
  return [
    results.transcripts.map(({ transcript }) => transcript ?? "").join("\n"),
    results.language_code ?? language ?? null,
    meanOf(sure),
    results.audio_segments === undefined
      ? turnsOf(items)
      : results.audio_segments.map((segment) => ({
          speaker: segment.speaker_label ?? segment.channel_label ?? null,
          start_s: Number(segment.start_time),
          end_s: Number(segment.end_time),
          text: segment.transcript ?? "",
          sentiment: null,
        })),
  ];
}

function ofCall(turns: readonly Turn[], language: string | undefined): CursorValue[] {
  const sure = turns.flatMap(({ Items }) => (Items ?? []).map(({ Confidence }) => Number(Confidence)));
  return [
    turns.map(({ Content }) => Content ?? "").join("\n"),
    language ?? null,
    meanOf(sure),
    turns.map((turn) => ({
      speaker: turn.ParticipantRole?.toLowerCase() ?? null,
      start_s: (turn.BeginOffsetMillis ?? 0) / 1000,
      end_s: (turn.EndOffsetMillis ?? 0) / 1000,
      text: turn.Content ?? "",
      sentiment: turn.Sentiment?.toLowerCase() ?? null,
    })),
  ];
}

/** Words as turns: another speaker, or a pause, begins another one. */
function turnsOf(items: readonly Item[]): CursorValue[] {
  const turns: { speaker: string | null; start_s: number; end_s: number; text: string; sentiment: null }[] = [];
  for (const item of items) {
    const content = item.alternatives?.[0]?.content ?? "";
    const turn = turns.at(-1);
    if (item.type === "punctuation" || item.start_time === undefined) {
      if (turn !== undefined) turn.text += content;
      continue;
    }
    const [start, end] = [Number(item.start_time), Number(item.end_time)];
    const speaker = item.speaker_label ?? item.channel_label ?? null;
    if (turn !== undefined && turn.speaker === speaker && start - turn.end_s <= pause) {
      turn.text += ` ${content}`;
      turn.end_s = end;
    } else turns.push({ speaker, start_s: start, end_s: end, text: content, sentiment: null });
  }
  return turns;
}

function meanOf(values: readonly number[]): number | null {
  const numbers = values.filter((value) => Number.isFinite(value));
  return numbers.length === 0 ? null : numbers.reduce((sum, value) => sum + value, 0) / numbers.length;
}
