import { isMillraceError, messageOf, MillraceError, retry, throwIfAborted, type ErrorPlace } from "../../core/index.ts";

/** What a service is called in messages, and what its callers must be allowed. */
export interface ServiceWords {
  /** `Kinesis`. */
  service: string;
  /** `the stream \`clicks\``. */
  what: string;
  /** Permissions, for the hint: `kinesis:ListShards, kinesis:GetRecords`. */
  permissions: string;
  where: ErrorPlace;
  /** What to look at when it is not there. */
  absent?: string;
}

const unknownKeys =
  /UnrecognizedClient|InvalidSignature|SignatureDoesNotMatch|InvalidClientTokenId|InvalidAccessKeyId|ExpiredToken|MissingAuthenticationToken|IncompleteSignature|CredentialsProvider|OptInRequired/;
const refused = /AccessDenied|NotAuthorized|Unauthorized|KMSDisabled|KMSInvalidState|KMSNotFound|KMSOptInRequired/;
const throttled =
  /ProvisionedThroughputExceeded|Throttl|TooManyRequests|RequestLimitExceeded|LimitExceeded|ServiceQuotaExceeded|SlowDown/;

/** Name of an error of the SDK, `ResourceNotFoundException`; empty for what is none. */
export const errorName = (error: unknown): string => (error instanceof Error ? error.name : "");

/** True when the server does not know the call at all: a likeness of AWS. */
export function isUnknownCall(error: unknown): boolean {
  const status = (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode;
  return status === 501 || /UnknownOperation|NotImplemented|UnsupportedOperation/.test(errorName(error));
}

/** An error of the SDK as one of ours. */
export function awsProblem(error: unknown, words: ServiceWords): MillraceError {
  if (isMillraceError(error)) return error;
  const { service, what, permissions, where, absent } = words;
  const name = errorName(error);
  const details = { cause: error, where };
  const text = `${service}, ${what}: ${messageOf(error) === "UnknownError" ? name : messageOf(error)}`;
  if (unknownKeys.test(name)) {
    return new MillraceError("authentication", `${service} does not accept the credentials: ${messageOf(error)}`, {
      ...details,
      hint: "set `credentials` or `role`, or what the AWS tools read: `aws sts get-caller-identity` shows who asks",
    });
  }
  if (refused.test(name)) {
    return new MillraceError("permission", `${service} refuses ${what}: ${messageOf(error)}`, {
      ...details,
      hint: `allow ${permissions}`,
    });
  }
  if (name === "ResourceNotFoundException") {
    return new MillraceError("not-found", `there is no ${what.replace(/^the /, "")}: ${messageOf(error)}`, {
      ...details,
      ...(absent === undefined ? {} : { hint: absent }),
    });
  }
  if (throttled.test(name)) return new MillraceError("limit", text, { ...details, temporary: true });
  if (isUnknownCall(error)) return new MillraceError("unsupported", text, details);
  const status = (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode ?? 0;
  if (status >= 400 && status < 500 && status !== 408) {
    return new MillraceError("config", text, {
      ...details,
      hint: "look at the options of the connection and the stream",
    });
  }
  return new MillraceError("unreachable", text, {
    ...details,
    temporary: true,
    hint: "look at `region`, `endpoint` and the network",
  });
}

/** Calls an action of the SDK until it is done, with its errors told as ours. The limits of these services need more patience than most. */
export function calling<T>(words: ServiceWords, signal: AbortSignal | undefined, action: () => Promise<T>): Promise<T> {
  return retry(
    async () => {
      throwIfAborted(signal);
      try {
        return await action();
      } catch (error) {
        throwIfAborted(signal);
        throw awsProblem(error, words);
      }
    },
    { tries: ({ code }) => (code === "limit" ? 12 : 4), ...(signal === undefined ? {} : { signal }) },
  );
}
