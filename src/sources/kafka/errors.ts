import { isMillraceError, messageOf, MillraceError, systemCode, type ErrorPlace } from "../../core/index.ts";

const unreachableHint =
  "look whether the brokers run, and whether `brokers` and what they advertise (`advertised.listeners`) can be reached from here";

/** Numbers of the protocol (https://kafka.apache.org/protocol#protocol_error_codes). */
export const codes = {
  offsetOutOfRange: 1,
  unknownTopic: 3,
  unknownTopicId: 100,
  inconsistentTopicId: 103,
} as const;

/** Leaders move and brokers start: the same call succeeds a little later. */
const passing = new Map<number, string>([
  [-1, "the broker failed"],
  [5, "the partition has no leader"],
  [6, "the broker is not the leader of the partition"],
  [7, "the broker took too long"],
  [8, "the broker is not available"],
  [9, "the replica is not available"],
  [13, "the broker lost a connection"],
  [14, "the coordinator is loading"],
  [15, "there is no coordinator"],
  [16, "the broker is not the coordinator"],
  [56, "a disk of the broker failed"],
  [72, "the listener is not there"],
  [74, "the leader has changed"],
  [75, "the leader has changed"],
  [78, "the offset is not available yet"],
  [41, "the broker is not the controller"],
]);

/** What a broker refuses for good, and what mends it. */
const final = new Map<number, [code: ConstructorParameters<typeof MillraceError>[0], what: string, hint?: string]>([
  [17, ["config", "the name is not one of a topic"]],
  [
    29,
    [
      "permission",
      "the topic may not be read",
      "allow `Read` and `Describe` on the topic: kafka-acls --add --consumer",
    ],
  ],
  [30, ["permission", "the group may not be used", "allow `Read` on the group, or leave out `group`"]],
  [31, ["permission", "the cluster refuses it"]],
  [35, ["unsupported", "the broker is too old or too new for this request"]],
  [58, ["authentication", "the broker does not accept the credentials", "look at `sasl`"]],
  [25, ["conflict", "consumers are active in the group", "give `group` a name that no consumer uses"]],
  [22, ["conflict", "consumers are active in the group", "give `group` a name that no consumer uses"]],
  [27, ["conflict", "consumers are active in the group", "give `group` a name that no consumer uses"]],
]);

/** The error that a number of the protocol stands for. `what` was asked: `topic \`orders\`, partition 3`. */
export function brokerError(code: number, what: string, where: ErrorPlace): MillraceError {
  const known = passing.get(code);
  if (known !== undefined)
    return new MillraceError("unreachable", `${what}: ${known}`, { where, hint: unreachableHint, temporary: true });
  if (code === codes.unknownTopic || code === codes.unknownTopicId || code === codes.inconsistentTopicId) {
    return new MillraceError("not-found", `${what}: there is no such topic or partition`, {
      where,
      hint: "`millrace discover` lists the topics",
    });
  }
  const refused = final.get(code);
  if (refused === undefined)
    return new MillraceError("unsupported", `${what}: the broker answers with error ${code}`, { where });
  const [kind, text, hint] = refused;
  return new MillraceError(kind, `${what}: ${text}`, { where, ...(hint === undefined ? {} : { hint }) });
}

/** What the client library throws, as ours. */
export function clientError(error: unknown, broker: string, where: ErrorPlace): MillraceError {
  if (isMillraceError(error)) return error;
  const chain: unknown[] = [];
  for (let each: unknown = error; each instanceof Error && chain.length < 8; each = each.cause) chain.push(each);
  const texts = chain.map(messageOf).join(": ");
  const system = chain.map(systemCode).find((code) => code !== undefined && !code.startsWith("PLT_KFK"));
  const details = { cause: error, where };
  if (
    chain.some((each) => systemCode(each) === "PLT_KFK_AUTHENTICATION") ||
    /SASL_AUTHENTICATION|SASL authentication/i.test(texts)
  ) {
    return new MillraceError("authentication", `the broker ${broker} does not accept the credentials`, {
      ...details,
      hint: "look at `sasl`: mechanism, user and password or token",
    });
  }
  if (/Broker requires TLS/.test(texts)) {
    return new MillraceError("config", `the broker ${broker} speaks TLS`, { ...details, hint: "set `tls: true`" });
  }
  if (
    /verify the broker supports TLS|wrong version number|packet length too long|ERR_SSL_WRONG_VERSION/i.test(
      `${texts} ${system ?? ""}`,
    )
  ) {
    return new MillraceError("config", `the broker ${broker} does not speak TLS on this port`, {
      ...details,
      hint: "leave out `tls`, or name the port of its TLS listener",
    });
  }
  if (/CERT|SELF_SIGNED|UNABLE_TO_VERIFY|ALTNAME|SSL_ALERT|TLSV|SSLV3|ERR_SSL/.test(system ?? "")) {
    return new MillraceError("authentication", `TLS with the broker ${broker} fails: ${texts}`, {
      ...details,
      hint: "name the authority of the brokers with `tls.ca`, and the client's certificate with `tls.cert` and `tls.key`",
    });
  }
  if (/UNSUPPORTED_SASL|mechanism/i.test(texts)) {
    return new MillraceError("config", `the broker ${broker} does not know the SASL mechanism`, {
      ...details,
      hint: "look at `sasl.mechanism`",
    });
  }
  return new MillraceError("unreachable", `the broker ${broker} cannot be reached: ${texts}`, {
    ...details,
    hint: unreachableHint,
    temporary: true,
  });
}
