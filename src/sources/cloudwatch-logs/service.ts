import {
  CloudWatchLogsClient,
  CreateExportTaskCommand,
  DescribeExportTasksCommand,
  DescribeLogGroupsCommand,
  FilterLogEventsCommand,
  type ExportTask,
} from "@aws-sdk/client-cloudwatch-logs";
import { MillraceError } from "../../core/index.ts";
import { clientOptions, clockOf, sending } from "../../protocols/aws/client.ts";
import { Pace } from "../../protocols/aws/pace.ts";
import { calling, errorName, type ServiceWords } from "../../protocols/aws/problems.ts";
import type { CloudwatchLogsOptions } from "./index.ts";

/** A group of log streams. Times are milliseconds since the epoch. */
export interface Group {
  name: string;
  arn: string;
  created: number;
  /** How long it keeps events; absent: for ever. */
  retentionMs?: number;
}

/** One event of a group. */
export interface LogEvent {
  stream: string;
  /** Null in exports. */
  id: string | null;
  /** When it happened, by whoever logged it. */
  at: number;
  /** When the service took it in, by its own clock; null in exports. */
  ingested: number | null;
  message: string;
}

/** What of a group is asked for. */
export interface Slice {
  group: string;
  /** Events that happened from here up to and without there. */
  from: number;
  to: number;
}

/** What the calls of CloudWatch Logs are to this source. */
export interface Service {
  /** Reaches the service with credentials that it knows. */
  greet(signal?: AbortSignal): Promise<void>;
  /** Groups whose names begin in this way. */
  groups(prefix: string, signal?: AbortSignal): AsyncIterable<Group>;
  /** Events of a slice, page by page, each once. */
  events(slice: Slice, limit?: number, signal?: AbortSignal): AsyncIterable<LogEvent[]>;
  /** Begins to write events to a bucket. Undefined while another export is under way, of which an account may have one. */
  beginExport(task: ExportTask, signal?: AbortSignal): Promise<string | undefined>;
  /** Exports that the service remembers, the newest first. */
  exports(signal?: AbortSignal): AsyncIterable<ExportTask>;
  /** Now, by the clock of the service. */
  now(): number;
  readonly client: CloudWatchLogsClient;
  close(): void;
}

const permissions =
  "logs:DescribeLogGroups and logs:FilterLogEvents; with `--watch` also logs:StartLiveTail, with `backfill` logs:CreateExportTask and logs:DescribeExportTasks";

export async function openService(
  options: CloudwatchLogsOptions,
  folder: string,
  connection: string,
): Promise<Service> {
  const { common, requestHandler } = await clientOptions(options, folder, connection);
  // Likenesses of AWS have one host for all.
  const client = new CloudWatchLogsClient({
    ...common,
    requestHandler,
    disableHostPrefix: options.endpoint !== undefined,
  });
  const now = clockOf(client);
  const pace = new Pace(options.calls_per_s);
  const words = (what: string): ServiceWords => ({
    service: "CloudWatch Logs",
    what,
    permissions,
    where: { connection },
    absent: "`aws logs describe-log-groups` shows what there is; look at `region` too",
  });
  const groupsWords = words("the list of log groups");

  return {
    client,
    now,
    async greet(signal) {
      await calling(groupsWords, signal, async () =>
        client.send(new DescribeLogGroupsCommand({ limit: 1 }), sending(signal)),
      );
    },

    async *groups(prefix, signal) {
      let token: string | undefined;
      do {
        const input = {
          ...(prefix === "" ? {} : { logGroupNamePrefix: prefix }),
          ...(token === undefined ? {} : { nextToken: token }),
        };
        const page = await calling(groupsWords, signal, async () =>
          client.send(new DescribeLogGroupsCommand(input), sending(signal)),
        );
        for (const { logGroupName, arn, logGroupArn, creationTime, retentionInDays } of page.logGroups ?? []) {
          yield {
            name: logGroupName!,
            arn: logGroupArn ?? arn!.replace(/:\*$/, ""),
            created: creationTime ?? 0,
            ...(retentionInDays === undefined ? {} : { retentionMs: retentionInDays * 86_400_000 }),
          };
        }
        token = page.nextToken;
      } while (token !== undefined);
    },

    async *events({ group, from, to }, limit, signal) {
      const input = {
        logGroupName: group,
        startTime: from,
        // The end is one of the times that are wanted.
        endTime: to - 1,
        ...(limit === undefined ? {} : { limit }),
        ...(options.filter === undefined ? {} : { filterPattern: options.filter }),
        ...(options.streams === undefined ? {} : { logStreamNamePrefix: options.streams }),
      };
      const tokens = new Set<string>();
      // What comes twice comes on pages that follow each other.
      let [before, own] = [new Set<string>(), new Set<string>()];
      let token: string | undefined;
      do {
        const page = await calling(words(`the log group \`${group}\``), signal, async () => {
          await pace.turn(signal);
          return client.send(
            new FilterLogEventsCommand({ ...input, ...(token === undefined ? {} : { nextToken: token }) }),
            sending(signal),
          );
        });
        const events: LogEvent[] = [];
        for (const { eventId, logStreamName, timestamp, ingestionTime, message } of page.events ?? []) {
          // Likenesses of AWS do not know all that can be asked for.
          if (before.has(eventId!) || own.has(eventId!) || !logStreamName!.startsWith(options.streams ?? "")) continue;
          own.add(eventId!);
          events.push({
            stream: logStreamName!,
            id: eventId!,
            at: timestamp!,
            ingested: ingestionTime!,
            message: message!,
          });
        }
        // A page without events is no end: the service looks through so much at a time, and the token says where it stands.
        if (events.length > 0) {
          yield events;
          [before, own] = [own, new Set()];
        }
        token = page.nextToken;
        if (token !== undefined && tokens.has(token)) {
          throw new MillraceError(
            "unreachable",
            `CloudWatch Logs gives the same page of \`${group}\` again and again`,
            {
              where: { connection, stream: group },
              temporary: true,
              hint: "run again later",
            },
          );
        }
        if (token !== undefined) tokens.add(token);
      } while (token !== undefined);
    },

    async beginExport(task, signal) {
      const { taskName, logGroupName, from, to, destination, destinationPrefix } = task;
      const input = { taskName, logGroupName, from, to, destination, destinationPrefix };
      return calling(words(`the export of \`${logGroupName}\``), signal, async () => {
        try {
          return (await client.send(new CreateExportTaskCommand(input), sending(signal))).taskId;
        } catch (error) {
          if (errorName(error) === "LimitExceededException") return undefined;
          throw error;
        }
      });
    },

    async *exports(signal) {
      let token: string | undefined;
      do {
        const page = await calling(words("the list of exports"), signal, async () =>
          client.send(new DescribeExportTasksCommand(token === undefined ? {} : { nextToken: token }), sending(signal)),
        );
        yield* page.exportTasks ?? [];
        token = page.nextToken;
      } while (token !== undefined);
    },

    close: () => client.destroy(),
  };
}
