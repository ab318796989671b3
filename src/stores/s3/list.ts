import { ListObjectsV2Command, type ListObjectsV2CommandOutput } from "@aws-sdk/client-s3";
import { type Entry, type LeftOut, MillraceError } from "../../core/index.ts";
import type { Bucket } from "./bucket.ts";
import { isStorePath, keyOf, probeName, whyNoPath } from "./paths.ts";

/** Objects below a folder. Of those whose key is no path of a store `leftOut` is told. */
export async function* listObjects(
  bucket: Bucket,
  prefix: string,
  leftOut?: (object: LeftOut) => void,
): AsyncGenerator<Entry> {
  const folder = prefix.replace(/\/+$/, "");
  const start = folder === "" ? bucket.root : `${keyOf(bucket.root, folder)}/`;
  for await (const page of pages(bucket, folder, start)) {
    for (const { Key, Size, LastModified, ETag } of page.Contents ?? []) {
      const path = decoded(page, Key).slice(bucket.root.length);
      if (path === probeName) continue;
      if (Size === undefined || LastModified === undefined) throw broken(folder, `nothing is said about \`${path}\``);
      // The marker of a folder, as consoles make it.
      if ((path === "" || path.endsWith("/")) && Size === 0) continue;
      const object = { size: Size, modified: LastModified.getTime(), ...(ETag && { etag: ETag }) };
      const why = whyNoPath(path);
      if (why === undefined) yield { path, ...object };
      else leftOut?.({ name: path, ...object, why });
    }
  }
}

/** Names of the folders right below the root. */
export async function listFolders(bucket: Bucket): Promise<string[]> {
  const names: string[] = [];
  for await (const page of pages(bucket, "", bucket.root, "/")) {
    for (const { Prefix } of page.CommonPrefixes ?? []) {
      const name = decoded(page, Prefix).slice(bucket.root.length, -1);
      if (isStorePath(name)) names.push(name);
    }
  }
  return names;
}

/** A page that says that more follow, but not where, is asked for again; it never passes for the last one. */
async function* pages(
  bucket: Bucket,
  path: string,
  prefix: string,
  delimiter?: string,
): AsyncGenerator<ListObjectsV2CommandOutput> {
  const input = {
    ...bucket.common,
    Prefix: prefix,
    EncodingType: "url",
    ...(delimiter && { Delimiter: delimiter }),
  } as const;
  let token: string | undefined;
  do {
    const page: ListObjectsV2CommandOutput = await bucket.again(async () => {
      const reply = await bucket.once("list", path, (options) =>
        bucket.client.send(new ListObjectsV2Command({ ...input, ...(token && { ContinuationToken: token }) }), options),
      );
      if (reply.IsTruncated === undefined) throw broken(path, "it does not say whether it is complete");
      if (reply.IsTruncated && (!reply.NextContinuationToken || reply.NextContinuationToken === token)) {
        throw broken(path, "it is incomplete and does not say how it goes on");
      }
      const entries = (reply.Contents?.length ?? 0) + (reply.CommonPrefixes?.length ?? 0);
      if ((reply.KeyCount ?? 0) > entries) throw broken(path, `${entries} of ${reply.KeyCount} entries came`);
      return reply;
    });
    yield page;
    token = page.IsTruncated ? page.NextContinuationToken : undefined;
  } while (token !== undefined);
}

/** XML cannot hold every key as it is, so they are asked for in the encoding of URLs; some servers do not know that. */
function decoded(page: ListObjectsV2CommandOutput, text = ""): string {
  return page.EncodingType === "url" ? decodeURIComponent(text.replaceAll("+", " ")) : text;
}

function broken(path: string, what: string): MillraceError {
  return new MillraceError("unreachable", `the listing of \`${path}/\` did not arrive whole: ${what}`, {
    temporary: true,
    where: { store: "s3", file: path },
    hint: "the server does not page listings as S3 does",
  });
}
