/** The one entry point. It exports nothing: Bun would serve a default export. */
import { startWithSettings } from "./lib/runtime/settings.ts";

// Before the program is loaded, which takes ten times as long: this process may start anew.
startWithSettings();
await import("./lib/cli/serve.ts");
