/** Tells an operator what to do about a fault of NATS. The server and nats.js only say what is wrong. */

/** Keyed by texts of nats-server 2.9 to 2.14 (server/errors.json), of nats.js 2.29, and of this folder. */
const ADVICE: readonly (readonly [RegExp, string])[] = [
  [/no JetStream answers|JetStream not enabled/i, "turn JetStream on (nats-server -js), and for this account"],
  [
    /\(Authorization Violation\)$/,
    "give this node a login of that server (--nats-creds, --nats-nkey, --nats-user or --nats-token-file)",
  ],
  [/permissions violation/i, 'grant this login the "Least permissions" of lib/nats/README.md'],
  [
    /insufficient (storage |memory )?resources|resource limits exceeded|maximum number of streams/i,
    "give JetStream more room (max_file_store, or the account's limits): 512 MiB is plenty",
  ],
  [/^TIMEOUT$/, "it is connected and does not answer: look whether it stands still, or its cluster has no leader"],
];

/** Adds to the reason what to do, if waiting does not help. */
export function withAdvice(reason: string): string {
  const advice = ADVICE.find(([words]) => words.test(reason))?.[1];
  return advice === undefined ? reason : `${reason}; ${advice}`;
}
