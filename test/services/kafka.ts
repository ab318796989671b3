import { execFile, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { Connection, metadataV12 } from "@platformatic/kafka";
import { messageOf, MillraceError } from "../../src/core/index.ts";
import { freePort, requireProgram } from "./install.ts";

const execute = promisify(execFile);
const version = "4.3.1";

/** One process of Apache Kafka, broker and controller in one, on data of its own. */
export interface KafkaNode {
  port: number;
  /** Ends it with SIGKILL. */
  kill(): Promise<void>;
  /** Starts it on the same data and ports, and resolves once it serves. */
  start(): Promise<void>;
  process(): ChildProcess;
}

export interface KafkaCluster extends AsyncDisposable {
  nodes: KafkaNode[];
  /** `127.0.0.1:port` of every node. */
  brokers: string[];
  /** Ports of the listener with a security of its own, by node, when `listener` was given. */
  secured: string[];
}

export interface KafkaOptions {
  /** 1 (default) or more. */
  nodes?: number;
  /** Lines of `server.properties`. */
  properties?: Record<string, string>;
  /** A second listener, named `SECURED`: its protocol, and lines of `server.properties`. */
  listener?: { protocol: "SSL" | "SASL_PLAINTEXT" | "SASL_SSL"; properties: Record<string, string> };
}

/** Starts Apache Kafka in KRaft mode. Throws `unreachable` when it cannot be had. */
export async function startKafka(options: KafkaOptions = {}): Promise<KafkaCluster> {
  const java = await requireProgram({ service: "Java", packages: ["openjdk-17-jre-headless"], name: "java" });
  const jars = await kafkaJars();
  const folder = await mkdtemp(join(tmpdir(), "millrace-kafka-"));
  const numbers = Array.from({ length: options.nodes ?? 1 }, (_, index) => index + 1);
  const ports = await distinctPorts(numbers.length * 3);
  const voters = numbers.map((id, index) => `${id}@127.0.0.1:${ports[index * 3 + 1]!}`).join(",");
  const cluster = Buffer.from(crypto.randomUUID().replaceAll("-", ""), "hex").toString("base64url");
  const nodes = await Promise.all(
    numbers.map((id, index) => {
      const [port, controller, secured] = ports.slice(index * 3) as [number, number, number];
      return prepareNode(
        { java, jars, folder: join(folder, String(id)), id, port, controller, secured, voters, cluster },
        options,
      );
    }),
  );
  const stop = async (): Promise<void> => {
    await Promise.all(nodes.map((node) => node.kill()));
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await Promise.all(nodes.map((node) => node.start()));
    // A cluster serves before all of its brokers are known to each other.
    for (let attempt = 0; ; attempt++) {
      const answer = await metadataOf(nodes[0]!.port).catch(() => undefined);
      if (answer?.brokers.length === nodes.length) break;
      if (attempt === 600) throw new MillraceError("unreachable", "the Kafka cluster does not come up");
      await sleep(50);
    }
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    nodes,
    brokers: nodes.map(({ port }) => `127.0.0.1:${port}`),
    secured: numbers.map((_, index) => `127.0.0.1:${ports[index * 3 + 2]!}`),
    [Symbol.asyncDispose]: stop,
  };
}

interface NodePlace {
  java: string;
  jars: string;
  folder: string;
  id: number;
  port: number;
  controller: number;
  secured: number;
  voters: string;
  cluster: string;
}

async function prepareNode(place: NodePlace, options: KafkaOptions): Promise<KafkaNode> {
  const { folder, id, port, controller, secured, voters, cluster } = place;
  const data = join(folder, "data");
  await mkdir(data, { recursive: true });
  const { listener } = options;
  const copies = String(Math.min(3, options.nodes ?? 1));
  const listeners = [`PLAINTEXT://127.0.0.1:${port}`, ...(listener ? [`SECURED://127.0.0.1:${secured}`] : [])];
  const properties: Record<string, string> = {
    "process.roles": "broker,controller",
    "node.id": String(id),
    "controller.quorum.voters": voters,
    "controller.listener.names": "CONTROLLER",
    listeners: [...listeners, `CONTROLLER://127.0.0.1:${controller}`].join(","),
    "advertised.listeners": listeners.join(","),
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": `PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURED:${listener?.protocol ?? "SSL"}`,
    "log.dirs": data,
    "offsets.topic.num.partitions": "1",
    "offsets.topic.replication.factor": copies,
    "transaction.state.log.num.partitions": "1",
    "transaction.state.log.replication.factor": copies,
    "transaction.state.log.min.isr": "1",
    "auto.create.topics.enable": "false",
    "num.network.threads": "2",
    "num.io.threads": "2",
    "background.threads": "2",
    "log.cleaner.dedupe.buffer.size": "4194304",
    "group.initial.rebalance.delay.ms": "0",
    // A broker that was killed may register again only then.
    "broker.session.timeout.ms": "1500",
    "broker.heartbeat.interval.ms": "300",
    "message.max.bytes": "20000000",
    ...listener?.properties,
    ...options.properties,
  };
  const file = join(folder, "server.properties");
  await writeFile(
    file,
    Object.entries(properties)
      .map(([name, value]) => `${name}=${value}\n`)
      .join(""),
  );
  const format = ["-XX:TieredStopAtLevel=1", "-cp", join(place.jars, "*"), "kafka.tools.StorageTool", "format"];
  await execute(place.java, [...format, "-t", cluster, "-c", file]);
  let child: ChildProcess | undefined;
  let text = "";
  const emergency = (): void => void child?.kill("SIGKILL");
  return {
    port,
    process: () => child!,
    async kill() {
      process.off("exit", emergency);
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
      child.kill("SIGKILL");
      await once(child, "exit");
    },
    async start() {
      const words = ["-Xmx256m", "-Xms128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto"];
      const settings = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-Djava.awt.headless=true"];
      child = spawn(place.java, [...words, ...settings, "-cp", join(place.jars, "*"), "kafka.Kafka", file], {
        stdio: ["ignore", "pipe", "pipe"],
      });
      for (const stream of [child.stdout!, child.stderr!]) {
        stream.on("data", (chunk: Buffer) => (text = (text + chunk.toString()).slice(-4000)));
      }
      process.once("exit", emergency);
      for (let attempt = 0; ; attempt++) {
        const answer = await metadataOf(port).catch(() => undefined);
        if (answer?.brokers.some(({ nodeId }) => nodeId === id)) return;
        if (child.exitCode !== null || child.signalCode !== null || attempt === 1200) {
          throw new MillraceError("unreachable", `Kafka does not start: ${text}`);
        }
        await sleep(50);
      }
    },
  };
}

async function metadataOf(port: number): Promise<metadataV12.MetadataResponse> {
  const connection = new Connection("test", { connectTimeout: 1000, requestTimeout: 2000 });
  connection.on("error", () => undefined);
  try {
    await connection.connect("127.0.0.1", port);
    return await metadataV12.api.async(connection, [], false, false);
  } finally {
    await connection.close();
  }
}

/** Ports that differ from each other too. */
async function distinctPorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  while (ports.size < count) ports.add(await freePort());
  return [...ports];
}

/** The folder with Kafka's jars, kept in `.cache/jars`. */
async function kafkaJars(): Promise<string> {
  const jars = resolve(import.meta.dirname, "../../.cache/jars");
  const target = join(jars, `kafka-${version}`);
  if (existsSync(target)) return target;
  const maven = await requireProgram({ service: "Maven", packages: ["maven"], name: "mvn" });
  await mkdir(jars, { recursive: true });
  const temporary = await mkdtemp(join(jars, "partial-"));
  const dependency = (group: string, artifact: string, number: string): string =>
    `<dependency><groupId>${group}</groupId><artifactId>${artifact}</artifactId><version>${number}</version></dependency>`;
  try {
    const project = [
      '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>',
      "<groupId>millrace</groupId><artifactId>kafka</artifactId><version>1</version><dependencies>",
      dependency("org.apache.kafka", "kafka_2.13", version),
      dependency("org.slf4j", "slf4j-simple", "1.7.36"),
      "</dependencies></project>",
    ];
    await writeFile(join(temporary, "pom.xml"), project.join(""));
    const goal = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies";
    await execute(maven, ["-q", "-B", goal, "-DincludeScope=runtime", `-DoutputDirectory=${join(temporary, "jars")}`], {
      cwd: temporary,
    });
    if ((await readdir(join(temporary, "jars"))).length < 20) throw new Error("too few jars");
    // Files of tests run side by side: whoever is first has it.
    await rename(join(temporary, "jars"), target).catch((error: unknown) => {
      if (!existsSync(target)) throw error;
    });
    return target;
  } catch (cause) {
    throw new MillraceError("unreachable", `Apache Kafka cannot be had with mvn: ${messageOf(cause)}`, { cause });
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}
