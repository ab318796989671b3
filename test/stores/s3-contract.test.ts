import definition from "../../src/stores/s3/index.ts";
import { type StoreContract, storeContract } from "../contracts/store.ts";
import { startMoto } from "../services/moto.ts";
import type { S3Server } from "../services/s3-server.ts";
import { startVersitygw } from "../services/versitygw.ts";
import { startS3Double } from "../support/s3-double.ts";

/** A bucket of a real server that is there for one run of the contract. */
function start(server: () => Promise<S3Server>, options: Record<string, unknown>): StoreContract["start"] {
  return async () => {
    const running = await server();
    const right = { ...(await running.bucket("contract")), ...options };
    return {
      options: right,
      secrets: [running.secretKey, "wrong-c4nary-secret"],
      wrong: [
        { what: "no such bucket", options: { ...right, bucket: "absent" }, code: "not-found" },
        { what: "the file of `ca` is absent", options: { ...right, ca: "absent.pem" }, code: "config" },
      ],
      [Symbol.asyncDispose]: () => running.stop(),
    };
  };
}

/** Its threads check the condition of a write and write in two steps. */
const unsteady = {
  "of many conditional creates exactly one wins, and its bytes stay": "moto checks a condition and writes in two steps",
  "so it is with objects that are written in several parts": "moto checks a condition and writes in two steps",
  "commits at the same time from two handles are all there, in one line of history":
    "moto checks a condition and writes in two steps",
};

// On Versity S3 Gateway.
storeContract({ name: "s3", definition, start: start(startVersitygw, { prefix: "deep/lake" }) });
storeContract({ name: "s3 on moto", definition, start: start(startMoto, {}), unsteady });

// The double is held to the same rules as the real servers first, and then strikes.
storeContract({
  name: "s3 on the double",
  definition,
  faults: ["loseWriteReply", "refuse", "cutRead", "ignoreConditions"],
  async start() {
    const double = await startS3Double(["contract"]);
    const right = { ...double.options("contract"), prefix: "lake" };
    return {
      options: right,
      secrets: ["double-c4nary-secret"],
      wrong: [
        { what: "no such bucket", options: { ...right, bucket: "absent" }, code: "not-found" },
        { what: "nobody listens", options: { ...right, endpoint: "http://127.0.0.1:9" }, code: "unreachable" },
      ],
      faults: {
        loseWriteReply: async () => double.arm("PutObject", "lose"),
        refuse: async (times) => double.arm("*", "refuse", times),
        cutRead: async () => double.arm("GetObject", "cut"),
        ignoreConditions: async () => double.arm("PutObject", "ignore-conditions", 2),
      },
      [Symbol.asyncDispose]: () => double[Symbol.asyncDispose](),
    };
  },
});
