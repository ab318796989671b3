import { useRemoteFiles } from "../formats/landing.ts";

// The same suite over files in a store whose objects have to be fetched.
useRemoteFiles();
await import("./files.test.ts");
