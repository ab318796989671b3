import { BlockList, isIP } from "node:net";
import { MillraceError } from "../../core/index.ts";

/** So many a second, and at once as many as in two seconds, one at least. */
export class Bucket {
  readonly #perSecond: number;
  readonly #most: number;
  #left: number;
  #at: number;

  constructor(perSecond: number, now: number) {
    this.#perSecond = perSecond;
    this.#most = Math.max(1, 2 * perSecond);
    this.#left = this.#most;
    this.#at = now;
  }

  /** `now`: milliseconds of a clock that only goes forward. */
  take(now: number): boolean {
    this.#left = Math.min(this.#most, this.#left + ((now - this.#at) / 1000) * this.#perSecond);
    this.#at = now;
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }
}

/** Addresses and networks (`10.0.0.0/8`) of proxies. Throws `config`. */
export function proxiesOf(list: readonly string[]): BlockList | undefined {
  if (list.length === 0) return undefined;
  const proxies = new BlockList();
  for (const entry of list) {
    const [address = "", bits] = entry.split("/");
    const family = isIP(address);
    const length = bits === undefined ? undefined : Number(bits);
    const longest = family === 4 ? 32 : 128;
    if (family === 0 || (length !== undefined && !(Number.isInteger(length) && length >= 0 && length <= longest))) {
      throw new MillraceError("config", `\`collect.proxies\`: \`${entry}\` is no address and no network`, {
        hint: "write `10.0.0.7` or `10.0.0.0/8`",
      });
    }
    const type = family === 4 ? "ipv4" : "ipv6";
    if (length === undefined) proxies.addAddress(address, type);
    else proxies.addSubnet(address, length, type);
  }
  return proxies;
}

const plain = (address: string): string => address.replace(/^::ffff:(?=\d+\.)/i, "");

/**
 * The address of the client. `X-Forwarded-For` is believed as far as configured proxies wrote it: from its end, the first that is none of them.
 * Whoever is no proxy may write there what he likes.
 */
export function clientAddress(peer: string, forwarded: string | undefined, proxies: BlockList | undefined): string {
  let address = plain(peer);
  if (proxies === undefined || forwarded === undefined) return address;
  const hops = forwarded.slice(-2_000).split(",");
  while (hops.length > 0 && isIP(address) !== 0 && proxies.check(address, isIP(address) === 4 ? "ipv4" : "ipv6")) {
    const next = plain(hops.pop()!.trim());
    if (isIP(next) === 0) break;
    address = next;
  }
  return address;
}
