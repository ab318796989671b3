import { HeadObjectCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { NodeHttpHandler } from "@smithy/node-http-handler";
import * as z from "zod";
import { isMillraceError, messageOf, MillraceError } from "../../core/index.ts";
import { account, regionOf } from "../../protocols/aws/account.ts";
import { accountShape } from "../../protocols/aws/options.ts";

/** Where a service of AWS is, who asks it, and where it finds large assets. */
export const awsShape = {
  region: z
    .string()
    .min(1)
    .optional()
    .describe("Region of the service. Default: AWS_REGION or the profile; us-east-1 with `endpoint`."),
  endpoint: z
    .url({ protocol: /^https?$/ })
    .optional()
    .describe("Address of another server with the API of the service. Default: AWS."),
  ...accountShape,
  bucket: z.strictObject({
    name: z.string().min(3).describe("Bucket in the region of the service."),
    prefix: z.string().default("millrace").describe("Before the names of objects. Default `millrace`."),
    endpoint: z
      .url({ protocol: /^https?$/ })
      .optional()
      .describe("Address of another server with the API of S3. Default: AWS."),
  }),
};
const options = z.object(awsShape).partial({ bucket: true });
export type AwsOptions = z.output<typeof options>;

export async function awsClientOptions(given: AwsOptions) {
  const requestHandler = new NodeHttpHandler({ socketTimeout: 60_000 });
  return {
    requestHandler,
    maxAttempts: 6,
    retryMode: "adaptive" as const,
    ...(given.endpoint && { endpoint: given.endpoint }),
    ...regionOf(given),
    ...(await account(given, requestHandler)),
  };
}

export interface Bucket {
  name: string;
  client: S3Client;
  /** Key of an object with such a name, below the prefix. */
  key(name: string): string;
  /** Puts it there unless it is: its name is made from its content. */
  put(name: string, bytes: Uint8Array, mediaType: string, signal?: AbortSignal): Promise<string>;
}

export async function openBucket(given: AwsOptions): Promise<Bucket> {
  const { name, prefix, endpoint } = given.bucket!;
  const { endpoint: _service, ...common } = await awsClientOptions(given);
  const client = new S3Client({
    ...common,
    ...(endpoint && { endpoint, forcePathStyle: true, region: given.region ?? "us-east-1" }),
  });
  const key = (object: string): string => [prefix, object].filter((part) => part !== "").join("/");
  return {
    name,
    client,
    key,
    async put(object, bytes, mediaType, signal) {
      const sending = signal ? { abortSignal: signal } : {};
      const place = { Bucket: name, Key: key(object) };
      const found = await client.send(new HeadObjectCommand(place), sending).catch((error: unknown) => {
        if ((error as Error).name === "NotFound") return undefined;
        throw error;
      });
      if (found?.ContentLength !== bytes.length)
        await client.send(new PutObjectCommand({ ...place, Body: bytes, ContentType: mediaType }), sending);
      return place.Key;
    },
  };
}

/** An error of a service as ours. `service` as people write it. */
export function awsError(error: unknown, service: string, permissions: string): MillraceError {
  if (isMillraceError(error)) return error;
  const { name } = error as Error;
  if (
    /AccessDenied|UnrecognizedClient|InvalidSignature|ExpiredToken|CredentialsProvider|InvalidClientTokenId|SignatureDoesNotMatch/.test(
      name,
    )
  ) {
    return new MillraceError("permission", `${service} refuses: ${messageOf(error)}`, {
      cause: error,
      hint: `${permissions} must be allowed`,
    });
  }
  if (/NoSuchBucket|InvalidS3Object|InvalidParameter|BadRequest|ValidationException/.test(name)) {
    return new MillraceError("config", `${service}: ${messageOf(error)}`, {
      cause: error,
      hint: "`bucket` must be in the region of the service, and readable to it",
    });
  }
  return new MillraceError("unreachable", `${service}: ${messageOf(error)}`, {
    cause: error,
    temporary: true,
    hint: "is the region right? `endpoint` leads to another server",
  });
}
