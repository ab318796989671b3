import { MillraceError } from "../../core/index.ts";
import type { Group, Service } from "./service.ts";

const special = /[*?]/;

/** Groups by a name, an ARN, or a pattern with `*` and `?`, in the order of their names. Throws `not-found` when there is none. */
export async function groupsOf(
  service: Service,
  stream: string,
  connection: string,
  signal: AbortSignal | undefined,
): Promise<Group[]> {
  const pattern = stream.startsWith("arn:") ? stream.replace(/^.*:log-group:/, "").replace(/:\*$/, "") : stream;
  const at = pattern.search(special);
  const expression = pattern
    .replaceAll(/[.+^${}()|[\]\\]/g, String.raw`\$&`)
    .replaceAll("*", ".*")
    .replaceAll("?", ".");
  const isWanted = new RegExp(`^${expression}$`, "s");
  const groups: Group[] = [];
  for await (const group of service.groups(at < 0 ? pattern : pattern.slice(0, at), signal)) {
    if (isWanted.test(group.name)) groups.push(group);
  }
  if (groups.length > 0) return groups.toSorted((left, right) => (left.name < right.name ? -1 : 1));
  throw new MillraceError("not-found", `there is no log group \`${stream}\``, {
    where: { connection, stream },
    hint: "`aws logs describe-log-groups` shows what there is; `*` and `?` stand for other characters; look at `region` too",
  });
}
