import {
  DeleteCallAnalyticsJobCommand,
  DeleteTranscriptionJobCommand,
  GetCallAnalyticsJobCommand,
  GetTranscriptionJobCommand,
  StartCallAnalyticsJobCommand,
  StartTranscriptionJobCommand,
  type MediaFormat,
  type TranscribeClient,
} from "@aws-sdk/client-transcribe";
import type { TranscribeOptions } from "./index.ts";

export interface Job {
  status: string | undefined;
  reason: string | undefined;
  /** Where its transcript is. */
  uri: string | undefined;
  language: string | undefined;
}

interface Wanted {
  name: string;
  /** `s3://bucket/key` of the recording. */
  media: string;
  format: string;
  bucket: string;
  /** Key of the transcript. */
  output: string;
}

type Sending = { abortSignal?: AbortSignal };

/** Starts a job. One of the name that was started before is the same job: nobody pays for it twice. */
export async function start(
  client: TranscribeClient,
  wanted: Wanted,
  options: TranscribeOptions,
  sending: Sending,
): Promise<void> {
  const { name, media, bucket, output } = wanted;
  const { language, languages, speakers, channels, redact, vocabulary, calls } = options;
  const redaction = redact
    ? { ContentRedaction: { RedactionType: "PII" as const, RedactionOutput: "redacted" as const } }
    : {};
  try {
    if (calls !== undefined) {
      const settings = {
        ...redaction,
        ...(vocabulary === undefined ? {} : { VocabularyName: vocabulary }),
        ...(language === undefined ? {} : { LanguageOptions: [language] }),
        ...(languages === undefined ? {} : { LanguageOptions: languages }),
      };
      const agent = calls.agent_channel;
      await client.send(
        new StartCallAnalyticsJobCommand({
          CallAnalyticsJobName: name,
          Media: { MediaFileUri: media },
          OutputLocation: `s3://${bucket}/${output}`,
          DataAccessRoleArn: calls.role,
          Settings: settings as never,
          ChannelDefinitions: [
            { ChannelId: agent, ParticipantRole: "AGENT" },
            { ChannelId: 1 - agent, ParticipantRole: "CUSTOMER" },
          ],
        }),
        sending,
      );
      return;
    }
    await client.send(
      new StartTranscriptionJobCommand({
        TranscriptionJobName: name,
        Media: { MediaFileUri: media },
        MediaFormat: wanted.format as MediaFormat,
        OutputBucketName: bucket,
        OutputKey: output,
        ...(language === undefined ? { IdentifyLanguage: true } : { LanguageCode: language as never }),
        ...(languages === undefined ? {} : { LanguageOptions: languages as never }),
        ...redaction,
        Settings: {
          ...(speakers === undefined ? {} : { ShowSpeakerLabels: true, MaxSpeakerLabels: speakers }),
          ...(channels ? { ChannelIdentification: true } : {}),
          ...(vocabulary === undefined ? {} : { VocabularyName: vocabulary }),
        },
      }),
      sending,
    );
  } catch (error) {
    if ((error as Error).name !== "ConflictException") throw error;
  }
}

export async function look(
  client: TranscribeClient,
  name: string,
  options: TranscribeOptions,
  sending: Sending,
): Promise<Job> {
  if (options.calls !== undefined) {
    const { CallAnalyticsJob: job } = await client.send(
      new GetCallAnalyticsJobCommand({ CallAnalyticsJobName: name }),
      sending,
    );
    const { Transcript: transcript } = job ?? {};
    return {
      status: job?.CallAnalyticsJobStatus,
      reason: job?.FailureReason,
      uri: transcript?.RedactedTranscriptFileUri ?? transcript?.TranscriptFileUri,
      language: job?.LanguageCode,
    };
  }
  const { TranscriptionJob: job } = await client.send(
    new GetTranscriptionJobCommand({ TranscriptionJobName: name }),
    sending,
  );
  const { Transcript: transcript } = job ?? {};
  return {
    status: job?.TranscriptionJobStatus,
    reason: job?.FailureReason,
    uri: transcript?.RedactedTranscriptFileUri ?? transcript?.TranscriptFileUri,
    language: job?.LanguageCode,
  };
}

/** So that its name is free for another attempt. */
export async function forget(client: TranscribeClient, name: string, options: TranscribeOptions): Promise<void> {
  if (options.calls === undefined) await client.send(new DeleteTranscriptionJobCommand({ TranscriptionJobName: name }));
  else await client.send(new DeleteCallAnalyticsJobCommand({ CallAnalyticsJobName: name }));
}
