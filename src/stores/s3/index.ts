import { defineStore } from "../../core/index.ts";
import { options } from "./options.ts";

export default defineStore({
  name: "s3",
  title: "Amazon S3 and S3-compatible servers",
  summary: "A bucket, or a folder in one, on Amazon S3 or a server with its API and conditional writes.",
  options,
  needs: [
    "a bucket, and `s3:ListBucket`, `s3:GetObject` and `s3:PutObject` on its prefix (`s3:DeleteObject` to clean up)",
    "a server that honours `If-None-Match: *`; `millrace check` proves it",
  ],
  capabilities: { local: false, durable: true, archive: false },
  address: (text) => {
    const [, bucket, prefix] = /^s3:\/\/([^/]+)(?:\/(.*))?$/s.exec(text) ?? [];
    return bucket === undefined ? undefined : { bucket, ...(prefix && { prefix }) };
  },
  examples: [
    {
      title: "By address, with the credentials and the region of the environment",
      yaml: "store: s3://my-bucket/lake\n",
    },
    {
      title: "Another S3-compatible server",
      yaml: [
        "store:",
        "  store: s3",
        "  bucket: lake",
        "  endpoint: https://s3.example.com",
        "  ca: ./authority.pem",
        "  credentials:",
        '    access_key_id: "${env:LAKE_KEY}"',
        '    secret_access_key: "${env:LAKE_SECRET}"',
        "",
      ].join("\n"),
    },
    {
      title: "A role in another account, encrypted with a key of KMS",
      yaml: [
        "store:",
        "  store: s3",
        "  bucket: lake",
        "  prefix: orders",
        "  region: eu-central-1",
        '  role: { arn: "arn:aws:iam::123456789012:role/lake", external_id: "${env:EXTERNAL_ID}" }',
        "  encryption: { type: 'aws:kms', key: alias/lake }",
        "",
      ].join("\n"),
    },
  ],
  load: async () => import("./driver.ts"),
});
