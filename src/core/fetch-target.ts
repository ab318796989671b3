import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { addressKind } from "./fetch-address.ts";
import { messageOf, MillraceError, systemCode } from "./errors.ts";

export interface Address {
  address: string;
  family: 4 | 6;
}

/** All addresses of a name. Throws as `dns.lookup` does. */
export type Resolve = (hostname: string) => Promise<Address[]>;

/** Where a request goes: a URL that may be called, and the addresses that were checked. */
export interface Target {
  url: URL;
  addresses: Address[];
}

export interface TargetRules {
  /**
   * Hosts in networks of one's own, and ports besides the usual ones: `host`, `host:port`, `*.domain` or `*.domain:port`.
   * IPv6 addresses in brackets.
   */
  allowHosts: readonly string[];
  resolve?: Resolve | undefined;
}

/** What public HTTP services listen on. A database, a mail server or a cache never answers to a URL of the user's. */
const usualPorts = new Set([80, 443, 8080, 8443]);

export const resolveAll: Resolve = async (hostname) => {
  const found = await lookup(hostname, { all: true, order: "verbatim" });
  return found.map(({ address, family }) => ({ address, family: family === 6 ? 6 : 4 }));
};

/** A URL without what may be secret in it: no user, no query, no fragment. */
export function shownUrl(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}`;
}

/** The text as a URL of HTTP without user and password. Throws `config`. */
export function parseHttpUrl(text: string | URL, base?: URL): URL {
  let url: URL;
  try {
    url = new URL(text, base);
  } catch (cause) {
    throw new MillraceError("config", "the URL is not valid", { cause, hint: "write `https://host/path`" });
  }
  if (url.protocol !== "https:" && url.protocol !== "http:") {
    throw new MillraceError("config", `a URL of \`${url.protocol}\` cannot be fetched`, {
      hint: "only `https:` and `http:` can be",
    });
  }
  if (url.username !== "" || url.password !== "") {
    throw new MillraceError("config", `the URL of \`${url.host}\` holds a user or a password`, {
      hint: "give them as an option of the connection, where they are kept secret",
    });
  }
  url.hash = "";
  return url;
}

export function portOf(url: URL): number {
  return url.port === "" ? (url.protocol === "https:" ? 443 : 80) : Number(url.port);
}

/** Name or address of the host, without brackets and without the dot that ends a full name. */
function bareHost(url: URL): string {
  return url.hostname
    .replace(/^\[|\]$/g, "")
    .replace(/\.$/, "")
    .toLowerCase();
}

/** How an entry of `allowHosts` reaches a host: not at all, by name or pattern, or by the very address. */
function allowance(url: URL, allowHosts: readonly string[]): { host: "no" | "name" | "address"; port: boolean } {
  const host = bareHost(url);
  const port = portOf(url);
  let result: "no" | "name" | "address" = "no";
  let isPortAllowed = false;
  for (const entry of allowHosts) {
    const match = /^(\[[^\]]+\]|[^:]+)(?::(\d+))?$/.exec(entry.trim().toLowerCase());
    if (match === null) continue;
    const name = match[1]!.replace(/^\[|\]$/g, "").replace(/\.$/, "");
    const fits = name.startsWith("*.") ? host.endsWith(name.slice(1)) : host === name;
    if (!fits || (match[2] !== undefined && Number(match[2]) !== port)) continue;
    if (match[2] !== undefined) isPortAllowed = true;
    if (isIP(host) !== 0) result = "address";
    else if (result === "no") result = "name";
  }
  return { host: result, port: isPortAllowed };
}

/**
 * Checks a URL before anything is sent: its port, and every address that its host has. A name that leads to one address that may not
 * be called is refused as a whole. Throws `permission` for what may not be called and `unreachable` for a name without address.
 */
export async function checkTarget(url: URL, rules: TargetRules): Promise<Target> {
  const allowed = allowance(url, rules.allowHosts);
  const host = bareHost(url);
  const port = portOf(url);
  if (!usualPorts.has(port) && !allowed.port) {
    throw new MillraceError("permission", `the port ${port} of \`${host}\` may not be called`, {
      hint: `add \`${url.hostname}:${port}\` to \`allow_hosts\` if it is meant`,
    });
  }
  const family = isIP(host);
  const addresses: Address[] =
    family === 0
      ? await resolved(host, rules.resolve ?? resolveAll)
      : [{ address: host, family: family === 6 ? 6 : 4 }];
  for (const { address } of addresses) {
    const kind = addressKind(address);
    const isAllowed = kind === "public" || (kind === "private" ? allowed.host !== "no" : allowed.host === "address");
    if (isAllowed) continue;
    throw new MillraceError(
      "permission",
      family === 0
        ? `\`${host}\` is at ${address}, an address that is not public`
        : `${address} is not a public address`,
      {
        hint:
          kind === "private"
            ? `add \`${url.host}\` to \`allow_hosts\` if it is a host of your own`
            : "a URL must not lead to addresses of the machine itself or of its cloud",
      },
    );
  }
  return { url, addresses };
}

async function resolved(host: string, resolve: Resolve): Promise<Address[]> {
  let addresses: Address[];
  try {
    addresses = await resolve(host);
  } catch (cause) {
    const temporary = ["EAI_AGAIN", "ETIMEOUT", "ESERVFAIL", "ECONNREFUSED"].includes(systemCode(cause) ?? "");
    throw new MillraceError(
      "unreachable",
      `the host \`${host}\` was not found: ${systemCode(cause) ?? messageOf(cause)}`,
      {
        cause,
        temporary,
        hint: "look at the spelling of the host, and at the name server of this machine",
      },
    );
  }
  if (addresses.length === 0) throw new MillraceError("unreachable", `the host \`${host}\` has no address`);
  return addresses;
}
