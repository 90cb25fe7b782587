/** Lets commands read NATS with the options, logins and secret of a node. */
import type { Config } from "../../config/config.ts";
import { secretsIn } from "../../config/texts/secret.ts";
import { Inspector } from "../../nats/inspector.ts";
import { Seal } from "../../nats/seal.ts";
import { embeddedWay } from "../../node/open-registry.ts";
import { CommandError, type Terminal } from "../terminal.ts";

/** The time for one question to NATS, in milliseconds. Chosen: even a cluster that elects a leader answers in less. */
const QUESTION_TIMEOUT_MS = 2_000;

/**
 * Connects as a node with these options would, but starts no server and makes no bucket.
 *
 * @throws CommandError there is no NATS; UnavailableError no server greets, or none accepts the login
 */
export function inspect(
  config: Pick<Config, "nats" | "natsLogin" | "bucket" | "secretFile">,
  terminal: Pick<Terminal, "clock" | "readFile" | "stopped">,
): Promise<Inspector> {
  const { nats, natsLogin, bucket, secretFile } = config;
  if (nats.kind === "off") throw new CommandError("there is no NATS to look at: --nats is off");
  const way = nats.kind === "urls" ? { urls: nats.urls, login: natsLogin } : embeddedWay(nats);
  const seal = new Seal(secretFile === undefined ? [] : secretsIn(terminal.readFile(secretFile)));
  const { clock, stopped: signal } = terminal;
  return Inspector.open({ ...way, bucket, seal, clock, signal, timeoutMs: QUESTION_TIMEOUT_MS });
}
