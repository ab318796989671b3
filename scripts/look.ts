/**
 * Opens pages that `millrace preview --html` wrote in Chromium, without a window: `node scripts/look.ts page.html …`. Fails when a picture or a player
 * does not load, or when the page asks the network for anything; a picture of each page is put beside it. Installs Chromium where it can.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { requireProgram } from "../test/services/install.ts";

type Fields = Record<string, unknown>;
/** One message of the Chrome DevTools Protocol, either way. */
interface Message {
  id?: number;
  method?: string;
  params?: Fields;
  result?: Fields;
  error?: { message: string };
}

/** What can be seen or heard, with what became of it. Run by the browser, from outside of the page. */
const examine = `Promise.all([...document.querySelectorAll("img, audio, video")].map(async (one) => {
  const name = one.tagName.toLowerCase();
  if (name === "img") {
    one.loading = "eager";
    await one.decode().catch(() => {});
    return [name, one.naturalWidth > 0 ? "shown" : "not shown", one.alt];
  }
  const settled = () => one.readyState >= 1 || one.error || one.networkState === 3;
  if (!settled()) await new Promise((then) => ["loadedmetadata", "error"].forEach((each) => one.addEventListener(each, then)));
  return [name, one.readyState >= 1 ? one.duration.toFixed(2) + " s" : "not played", one.parentElement.querySelector("h2").textContent];
}))`;

async function look(browser: string, page: string): Promise<boolean> {
  const profile = await mkdtemp(join(tmpdir(), "millrace-look-"));
  const options = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--remote-debugging-port=0",
    "--window-size=1200,1600",
  ];
  const child = spawn(browser, [...options, `--user-data-dir=${profile}`, "about:blank"], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  try {
    let address: string | undefined;
    for await (const line of createInterface({ input: child.stderr })) {
      address = /^DevTools listening on (ws:\S+)$/.exec(line)?.[1];
      if (address !== undefined) break;
    }
    if (address === undefined) throw new Error("the browser did not start");
    const targets = (await (await fetch(`http://${new URL(address).host}/json`)).json()) as Fields[];
    const socket = new WebSocket(String(targets.find(({ type }) => type === "page")!["webSocketDebuggerUrl"]));
    await once(socket, "open");
    const waiting = new Map<number, (message: Message) => void>();
    const asked: string[] = [];
    const loaded = Promise.withResolvers<void>();
    socket.addEventListener("message", ({ data }) => {
      const message = JSON.parse(String(data)) as Message;
      if (message.id !== undefined) waiting.get(message.id)?.(message);
      if (message.method === "Network.requestWillBeSent")
        asked.push((message.params!["request"] as { url: string }).url);
      if (message.method === "Page.loadEventFired") loaded.resolve();
    });
    let last = 0;
    const send = async (method: string, params: Fields = {}): Promise<Fields> => {
      const id = ++last;
      const answer = new Promise<Message>((then) => waiting.set(id, then));
      socket.send(JSON.stringify({ id, method, params }));
      const { result, error } = await answer;
      if (error !== undefined) throw new Error(`${method}: ${error.message}`);
      return result!;
    };
    await send("Network.enable");
    await send("Page.enable");
    await send("Page.navigate", { url: pathToFileURL(page).href });
    await loaded.promise;
    const { result } = await send("Runtime.evaluate", { expression: examine, awaitPromise: true, returnByValue: true });
    const { data } = await send("Page.captureScreenshot", { format: "png" });
    await writeFile(page.replace(/\.html$/, ".png"), Buffer.from(String(data), "base64"));
    socket.close();
    const seen = (result as { value: [string, string, string][] }).value;
    const abroad = asked.filter((url) => !/^(data|file|blob):/.test(url));
    console.log(page);
    for (const [name, state, title] of seen) console.log(`  ${name}  ${state}  ${title}`);
    for (const url of abroad) console.log(`  asked the network for ${url}`);
    return abroad.length === 0 && !seen.some(([, state]) => state.startsWith("not "));
  } finally {
    child.kill();
    await once(child, "exit");
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

const browser = await requireProgram({ service: "Chromium", name: "chromium", packages: ["chromium"] });
for (const page of process.argv.slice(2)) if (!(await look(browser, resolve(page)))) process.exitCode = 1;
