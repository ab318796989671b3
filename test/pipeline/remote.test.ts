import { useRemoteStores } from "./place.ts";

// The same suites over a store whose objects have to be fetched.
useRemoteStores();
await import("./modes.test.ts");
await import("./verbs.test.ts");
await import("./replay.test.ts");
await import("./transform.test.ts");
await import("./erase.test.ts");
