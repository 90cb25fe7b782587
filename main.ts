/** The one entry point. It exports nothing: Bun would serve a default export. */
import { askForPermissions } from "./lib/runtime/start/permissions.ts";
import { startWithSettings } from "./lib/runtime/start/settings.ts";

askForPermissions();
// Call this before the rest is loaded, which takes ten times as long: it may replace the process by one with other
// settings.
startWithSettings();
await import("./lib/cli/main.ts");
