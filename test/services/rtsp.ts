import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { freePort, requirePackages, requireProgram } from "./install.ts";

/** A camera: H.264 of a test picture at 10 frames a second, a key frame each second, behind a user and a password. */
export interface RtspServer extends AsyncDisposable {
  url: string;
  user: string;
  password: string;
  port: number;
  /** Pulls the plug. */
  kill(): Promise<void>;
  /** Plugs it in again, at the same port. */
  start(): Promise<void>;
}

const server = `
import sys, gi
gi.require_version("Gst", "1.0"); gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst, GstRtspServer, GLib
Gst.init(None)
port, user, password = sys.argv[1:4]
server = GstRtspServer.RTSPServer.new()
server.set_address("127.0.0.1"); server.set_service(port)
auth = GstRtspServer.RTSPAuth.new()
token = GstRtspServer.RTSPToken()
token.set_string("media.factory.role", "user")
auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
server.set_auth(auth)
factory = GstRtspServer.RTSPMediaFactory.new()
factory.set_launch("( videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=10/1 ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 ! rtph264pay name=pay0 config-interval=1 pt=96 )")
factory.set_shared(True)
permissions = GstRtspServer.RTSPPermissions()
permissions.add_permission_for_role("user", "media.factory.access", True)
permissions.add_permission_for_role("user", "media.factory.construct", True)
factory.set_permissions(permissions)
server.get_mount_points().add_factory("/live", factory)
server.attach(None)
print("ready", flush=True)
GLib.MainLoop().run()
`;

/** Throws `unreachable` when it cannot be had. */
export async function requireRtspServer(): Promise<RtspServer> {
  const packages = [
    "python3-gi",
    "gir1.2-gst-rtsp-server-1.0",
    "gstreamer1.0-plugins-base",
    "gstreamer1.0-plugins-good",
    "gstreamer1.0-plugins-ugly",
  ];
  // Debian's own Python has the bindings, and not another one of PATH.
  const python = await requireProgram({
    service: "GStreamer's RTSP server",
    name: "python3",
    packages,
    folders: ["/usr/bin"],
  });
  if (!(await hasBindings(python))) await requirePackages("GStreamer's RTSP server", packages);
  const port = await freePort();
  const [user, password] = ["viewer", "s3cret-of-the-camera"];
  let child: ChildProcess | undefined;
  const kill = async (): Promise<void> => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  };
  const start = async (): Promise<void> => {
    child = spawn(python, ["-c", server, String(port), user, password], { stdio: ["ignore", "pipe", "inherit"] });
    for await (const line of createInterface({ input: child.stdout! })) if (line === "ready") return;
    throw new Error("the RTSP server did not start");
  };
  await start();
  const url = `rtsp://${user}:${password}@127.0.0.1:${port}/live`;
  return { url, user, password, port, kill, start, [Symbol.asyncDispose]: kill };
}

async function hasBindings(python: string): Promise<boolean> {
  const child = spawn(
    python,
    [
      "-c",
      "import gi; gi.require_version('GstRtspServer', '1.0'); gi.require_version('Gst', '1.0'); from gi.repository import Gst; Gst.init(None); assert Gst.ElementFactory.find('x264enc')",
    ],
    { stdio: "ignore" },
  );
  const [code] = (await once(child, "exit")) as [number | null];
  return code === 0;
}
