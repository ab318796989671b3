import { createHmac, timingSafeEqual } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import { header } from "../collected/index.ts";
import type { Sender } from "./options.ts";

/** Where a system puts the signature of what it sends, and what it signs. */
interface Scheme {
  header: string;
  algorithm: "sha256" | "sha1" | "sha512";
  encoding: "hex" | "base64";
  prefix: string;
  /** `{timestamp}` and, at its end, `{body}`. */
  signed: string;
  timestampHeader?: string | undefined;
}

/**
 * https://shopify.dev/docs/apps/build/webhooks/subscribe/https, https://www.typeform.com/developers/webhooks/secure-your-webhooks/,
 * https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
 */
const schemes: Record<"shopify" | "typeform" | "github", Scheme> = {
  shopify: { header: "x-shopify-hmac-sha256", algorithm: "sha256", encoding: "base64", prefix: "", signed: "{body}" },
  typeform: {
    header: "typeform-signature",
    algorithm: "sha256",
    encoding: "base64",
    prefix: "sha256=",
    signed: "{body}",
  },
  github: { header: "x-hub-signature-256", algorithm: "sha256", encoding: "hex", prefix: "sha256=", signed: "{body}" },
};

/** Header names of signatures, which are not kept. */
export function signatureHeader(sender: Sender): string | undefined {
  if (sender.scheme === "none") return undefined;
  return sender.scheme === "stripe" ? "stripe-signature" : schemeOf(sender).header;
}

function schemeOf(sender: Exclude<Sender, { scheme: "none" }>): Scheme {
  if (sender.scheme !== "custom") return schemes[sender.scheme as keyof typeof schemes];
  const { algorithm, encoding, prefix, signed, timestamp_header: timestampHeader } = sender;
  return {
    header: sender.header.toLowerCase(),
    algorithm,
    encoding,
    prefix,
    signed,
    timestampHeader: timestampHeader?.toLowerCase(),
  };
}

/** Whether the sender has signed the body, and within the tolerance where it signs the time. `now`: milliseconds since the epoch. */
export function isSigned(
  sender: Sender,
  headers: Readonly<IncomingHttpHeaders>,
  body: Uint8Array,
  { now, toleranceSeconds }: { now: number; toleranceSeconds: number },
): boolean {
  if (sender.scheme === "none") return true;
  const isRecent = (timestamp: string): boolean =>
    /^\d{1,13}$/.test(timestamp) && Math.abs(now / 1000 - secondsOf(timestamp)) <= toleranceSeconds;
  if (sender.scheme === "stripe") {
    // https://docs.stripe.com/webhooks#verify-manually: `t=…,v1=…,v1=…`; while a secret is changed there are two.
    const parts = (header(headers["stripe-signature"], 2_000) ?? "")
      .split(",")
      .map((part) => part.trim().split("=", 2));
    const timestamp = parts.find(([name]) => name === "t")?.[1] ?? "";
    const given = parts.filter(([name]) => name === "v1").map(([, value = ""]) => Buffer.from(value, "hex"));
    return isRecent(timestamp) && fits(sender.secret, "sha256", `${timestamp}.`, body, given);
  }
  const scheme = schemeOf(sender);
  const value = header(headers[scheme.header], 2_000);
  if (value === null || !value.startsWith(scheme.prefix)) return false;
  const timestamp = scheme.timestampHeader === undefined ? "" : (header(headers[scheme.timestampHeader], 50) ?? "");
  if (scheme.timestampHeader !== undefined && !isRecent(timestamp)) return false;
  const before = scheme.signed.slice(0, -"{body}".length).replaceAll("{timestamp}", timestamp);
  return fits(sender.secret, scheme.algorithm, before, body, [
    Buffer.from(value.slice(scheme.prefix.length), scheme.encoding),
  ]);
}

/** Seconds, or milliseconds when there are so many digits. */
const secondsOf = (timestamp: string): number => (timestamp.length > 11 ? Number(timestamp) / 1000 : Number(timestamp));

/** Compared in constant time, all of them. */
function fits(
  secrets: readonly string[],
  algorithm: Scheme["algorithm"],
  before: string,
  body: Uint8Array,
  given: readonly Buffer[],
): boolean {
  let isFound = false;
  for (const secret of secrets) {
    const wanted = createHmac(algorithm, secret).update(before).update(body).digest();
    for (const each of given) if (each.length === wanted.length && timingSafeEqual(each, wanted)) isFound = true;
  }
  return isFound;
}
