/**
 * For `--preload`, before `main.ts` runs: sets an OpenTelemetry SDK, which prints each span as a line of JSON on standard
 * error: a worker's standard output is its pipe to the supervisor. An operator's own file would send them to a collector.
 */
import { setSdk } from "./sdk.ts";

setSdk((span) => console.error(JSON.stringify(span)));
