import { createHash, createHmac } from "node:crypto";
import type { Keys } from "../../protocols/aws/account.ts";

const lifetime = 900;

/**
 * The token that Amazon MSK takes for SASL/OAUTHBEARER: a request `kafka-cluster:Connect`, signed by Signature Version 4 for 15 minutes, as
 * base64url (https://github.com/aws/aws-msk-iam-sasl-signer-js does the same).
 */
export function mskToken(keys: Keys, region: string, now: Date): string {
  const time = now.toISOString().replaceAll(/[-:]|\.\d+/g, "");
  const day = time.slice(0, 8);
  const scope = `${day}/${region}/kafka-cluster/aws4_request`;
  const host = `kafka.${region}.amazonaws.com`;
  const query = new Map([
    ["Action", "kafka-cluster:Connect"],
    ["X-Amz-Algorithm", "AWS4-HMAC-SHA256"],
    ["X-Amz-Credential", `${keys.accessKeyId}/${scope}`],
    ["X-Amz-Date", time],
    ["X-Amz-Expires", String(lifetime)],
    ...(keys.sessionToken === undefined ? [] : [["X-Amz-Security-Token", keys.sessionToken] as const]),
    ["X-Amz-SignedHeaders", "host"],
  ]);
  const escaped = (text: string): string =>
    encodeURIComponent(text).replaceAll(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`);
  const asked = [...query].map(([name, value]) => `${escaped(name)}=${escaped(value)}`).join("&");
  const sha = (text: string): string => createHash("sha256").update(text).digest("hex");
  const request = ["GET", "/", asked, `host:${host}\n`, "host", sha("")].join("\n");
  const hmac = (key: string | Buffer, text: string): Buffer => createHmac("sha256", key).update(text).digest();
  const key = [day, region, "kafka-cluster", "aws4_request"].reduce<string | Buffer>(
    hmac,
    `AWS4${keys.secretAccessKey}`,
  );
  const signature = hmac(key, ["AWS4-HMAC-SHA256", time, scope, sha(request)].join("\n")).toString("hex");
  const url = `https://${host}/?${asked}&X-Amz-Signature=${signature}&User-Agent=millrace`;
  return Buffer.from(url).toString("base64url");
}
