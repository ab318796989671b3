import { type ErrorDetails, MillraceError, isMillraceError, messageOf, systemCode } from "../../core/index.ts";

/** What was being done; the permission that it needs follows from it. */
export type Action = "read" | "write" | "list" | "remove";

const permissions: Record<Action, string> = {
  read: "`s3:GetObject` (and `s3:ListBucket`, without which S3 refuses instead of saying that an object is absent; `kms:Decrypt` with KMS)",
  write: "`s3:PutObject` (and `kms:GenerateDataKey` and `kms:Decrypt` with KMS)",
  list: "`s3:ListBucket`",
  remove: "`s3:DeleteObject`",
};

/** What is kept of an error of the SDK: its own holds the whole response. */
export class S3Failure extends Error {
  readonly status: number | undefined;
  readonly requestId: string | undefined;

  constructor(name: string, message: string, status: number | undefined, requestId: string | undefined) {
    super(message);
    this.name = name;
    this.status = status;
    this.requestId = requestId;
  }
}

interface SdkError {
  name?: string;
  Region?: string;
  $metadata?: { httpStatusCode?: number; requestId?: string };
  $response?: { headers?: Record<string, string> };
}

/** The name of S3's refusal (`SlowDown`, `PreconditionFailed`), when the error is one. */
export function failureName(error: unknown): string | undefined {
  return isMillraceError(error) && error.cause instanceof S3Failure ? error.cause.name : undefined;
}

const unsent = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH"]);
const declined = new Set(["SlowDown", "TooManyRequests", "ThrottlingException", "ConditionalRequestConflict"]);

/** True when a request that failed so may have been carried out all the same. */
export function isDoubtful(error: unknown): boolean {
  if (!isMillraceError(error) || !error.temporary) return false;
  const name = failureName(error) ?? "";
  return !declined.has(name) && !unsent.has(name);
}

/** True for a status that says: not you, or not so. */
export function isRefusal(status: number | undefined): boolean {
  return status !== undefined && [400, 401, 403, 405].includes(status);
}

/** True for a refusal that does not say why, as all are that answer to HEAD. */
export function isWordless(error: unknown): boolean {
  if (!isMillraceError(error) || !(error.cause instanceof S3Failure)) return false;
  const { name, status } = error.cause;
  return /^Unknown|^\d+$|^(BadRequest|Forbidden)$/.test(name) && isRefusal(status);
}

/** Errors of the SDK in Millrace's codes. */
export function s3Error(error: unknown, action: Action, path: string, bucket: string): MillraceError {
  if (isMillraceError(error)) return error;
  const { name: sdkName, $metadata: metadata, $response: response, Region } = (error ?? {}) as SdkError;
  const status = metadata?.httpStatusCode;
  const name = systemCode(error) ?? sdkName ?? "Error";
  const cause = new S3Failure(name, messageOf(error), status, metadata?.requestId);
  const where = { store: "s3", file: path };
  const what = path === "" ? `the bucket \`${bucket}\`` : `\`${path}\``;
  const fail = (code: MillraceError["code"], message: string, more: ErrorDetails = {}): MillraceError =>
    new MillraceError(code, message, { where, cause, ...more });
  const said = `${messageOf(error)}${metadata?.requestId ? ` (request ${metadata.requestId})` : ""}`;
  const region = Region ?? response?.headers?.["x-amz-bucket-region"];

  switch (name) {
    case "NoSuchBucket":
      return fail("not-found", `the bucket \`${bucket}\` does not exist`, {
        hint: "make the bucket, or correct `bucket`, `region` and `endpoint`",
      });
    case "NoSuchKey":
      return fail("not-found", `\`${path}\` does not exist`);
    case "PreconditionFailed":
      return fail("already-exists", `${what} exists already`);
    case "InvalidAccessKeyId":
    case "SignatureDoesNotMatch":
    case "InvalidToken":
    case "InvalidClientTokenId":
    case "UnrecognizedClientException":
    // Versity S3 Gateway, with 404.
    case "XAdminUserNotFound":
      return fail("authentication", `S3 does not accept the credentials: ${said}`, {
        hint: "correct `credentials` (or the environment that they come from)",
      });
    case "ExpiredToken":
    case "ExpiredTokenException":
    case "TokenRefreshRequired":
      return fail("authentication", "the session token of the credentials has expired", {
        hint: "renew the credentials (`aws sso login`, or new keys) and run again; `role` renews its own",
      });
    case "CredentialsProviderError":
      return fail("authentication", `no credentials for the bucket \`${bucket}\`: ${said}`, {
        hint: "set `credentials`, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, or `anonymous: true` for a public bucket",
      });
    case "RequestTimeTooSkewed":
    case "RequestExpired":
      return fail("authentication", "the clock of this machine is more than 15 minutes off from that of S3", {
        hint: "set the clock (`timedatectl set-ntp true`)",
        // The SDK takes the time of the reply into account from now on.
        temporary: true,
      });
    case "PermanentRedirect":
    case "AuthorizationHeaderMalformed":
    case "IllegalLocationConstraintException":
    case "TemporaryRedirect":
      return fail("config", `the bucket \`${bucket}\` is in ${region ?? "another region"}: ${said}`, {
        hint: `set \`region: ${region ?? "…"}\``,
      });
    case "ConditionalRequestConflict":
    case "OperationAborted":
      return fail("conflict", `somebody else writes ${what} at the same time`, { temporary: true, hint: "run again" });
    case "NoSuchUpload":
      return fail("conflict", `the upload of ${what} in parts was ended by somebody else`, { hint: "run again" });
    case "NotImplemented":
    case "MethodNotAllowed":
      return fail("unsupported", `the server cannot ${action} ${what}: ${said}`, {
        hint: "use a server with conditional writes (`If-None-Match`)",
      });
    case "KeyTooLongError":
      return fail("limit", `the name of ${what} is too long`, { hint: "use a shorter name or prefix" });
    case "InvalidObjectState":
      return fail("unsupported", `${what} is archived and must be restored before it can be read`, {
        hint: "restore it (`aws s3api restore-object`), and take the prefix out of the lifecycle rule",
      });
    case "QuotaExceeded":
    case "XMinioStorageFull":
      return fail("full", `the store is full: ${said}`, { temporary: true, hint: "free space; nothing was committed" });
    case "BadDigest":
    case "XAmzContentChecksumMismatch":
      return fail("unreachable", `${what} was changed on its way to the server`, { temporary: true });
    case "SlowDown":
    case "ThrottlingException":
    case "TooManyRequests":
      return fail("unreachable", `S3 asks for fewer requests to ${action} ${what}`, {
        temporary: true,
        hint: "wait, or lower `connections`",
        ...retryAfter(response?.headers?.["retry-after"]),
      });
  }
  if (name.startsWith("KMS.") || /^Kms/i.test(name)) {
    return fail("permission", `KMS refuses to ${action} ${what}: ${said}`, {
      hint: "enable the key of `encryption` and grant `kms:GenerateDataKey` and `kms:Decrypt` on it",
    });
  }
  if (status === 412) return fail("already-exists", `${what} exists already`);
  if (status === 404 && action === "write") {
    return fail("unsupported", `the server has no place for ${what}: ${said}`, {
      hint: "use a plainer name, or correct `endpoint` if it is not that of an S3 server",
    });
  }
  if (status === 404) return fail("not-found", `${what} does not exist`);
  if (status === 401 || status === 403) {
    return fail("permission", `S3 does not let us ${action} ${what}: ${said}`, {
      hint: `grant ${permissions[action]} on the bucket \`${bucket}\`; see docs/guide/stores.md`,
    });
  }
  if (status === 301 || status === 307) {
    return fail("config", `the bucket \`${bucket}\` is in ${region ?? "another region"}`, {
      hint: `set \`region: ${region ?? "…"}\``,
    });
  }
  if (status === 507) return fail("full", `the store is full: ${said}`, { hint: "free space", temporary: true });
  if (status === 429 || status === 408 || (status !== undefined && status >= 500)) {
    return fail("unreachable", `S3 failed to ${action} ${what}: ${name}: ${said}`, {
      temporary: true,
      ...retryAfter(response?.headers?.["retry-after"]),
    });
  }
  if (status !== undefined && status >= 400) return fail("usage", `S3 refuses to ${action} ${what}: ${name}: ${said}`);
  return networkError(name, messageOf(error), fail);
}

function networkError(
  name: string,
  message: string,
  fail: (code: MillraceError["code"], message: string, more?: ErrorDetails) => MillraceError,
): MillraceError {
  if (name === "AbortError") return fail("aborted", "stopped by the caller");
  if (/^region is missing/i.test(message)) {
    return fail("config", "the region of the bucket is not known", {
      hint: "set `region`, or AWS_REGION in the environment",
    });
  }
  if (/CERT|SELF_SIGNED|UNABLE_TO_|^ERR_TLS/.test(name)) {
    return fail("unreachable", `the certificate of the server is not accepted: ${message}`, {
      hint: "point `ca` to the PEM file of the authority that signed it",
    });
  }
  if (/^EPROTO$|^ERR_SSL/.test(name)) {
    return fail("unreachable", `the server does not speak TLS as we do: ${message}`, {
      hint: "check `http://` or `https://` in `endpoint`",
    });
  }
  if (name === "ENOTFOUND") {
    return fail("unreachable", `there is no such host: ${message}`, { hint: "correct `endpoint` or `region`" });
  }
  if (/timeout|ETIMEDOUT/i.test(name)) {
    return fail("timeout", `S3 did not answer in time: ${message}`, {
      temporary: true,
      hint: "check the network, or raise `timeout`",
    });
  }
  return fail("unreachable", `S3 cannot be reached: ${name}: ${message}`, {
    temporary: true,
    hint: "check `endpoint`, `region` and the network",
  });
}

/** `Retry-After` in seconds; its other form, a date, is not used by S3. */
function retryAfter(header: string | undefined): { retryAfterMs?: number } {
  const seconds = Number(header);
  return header !== undefined && Number.isFinite(seconds) && seconds >= 0 ? { retryAfterMs: seconds * 1000 } : {};
}
