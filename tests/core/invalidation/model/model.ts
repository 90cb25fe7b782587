/**
 * Random interleavings of a small cluster, step by step, checked against a plain specification (spec.ts). The seed
 * alone determines a run. A failing run is shrunk: steps are removed, and the setup is simplified, while it still fails.
 */
import { type Invalidation, invalidationOf } from "../../../../lib/core/invalidation/message.ts";
import { watchStores } from "./patch.ts";
import { KEYS } from "./spec.ts";
import { LEFT, type Mistakes, sayMessage, type Setup, type Tally, World } from "./world.ts";

/** What may happen. The three numbers of a step say to whom, and how; each kind of step reads them in its own way. */
const WEIGHTS = {
  get: 22,
  getAfter: 4,
  getToItsEnd: 10,
  leave: 1,
  deliver: 16,
  deliverAll: 10,
  lose: 2,
  originAnswers: 12,
  tell: 9,
  change: 9,
  word: 2,
  publish: 4,
  changeUnlogged: 2,
  flush: 2,
  write: 4,
  pass: 6,
  cut: 2,
  heal: 3,
  skip: 1,
  forget: 1,
  loseLog: 1,
  see: 4,
  kill: 1,
  evict: 2,
  restart: 2,
  drain: 1,
  unasked: 1,
} as const;

export type Kind = keyof typeof WEIGHTS;
export type Step = readonly [kind: Kind, a: number, b: number, c: number];

const KINDS = Object.keys(WEIGHTS) as Kind[];
/** Without these a run is nothing. */
const ALWAYS: ReadonlySet<Kind> = new Set(["get", "deliverAll", "originAnswers", "tell", "change"]);
const PASS_MS = [1, 10, 60, 100, 250, 300, 600, 1_100, 2_500, 5_000] as const;

export interface Plan {
  readonly seed: number;
  readonly setup: Setup;
  readonly steps: readonly Step[];
}

/** A generator of numbers in [0, 1) (mulberry32). */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** What a run is about: rare meetings need setups that fit. */
interface Theme extends Partial<Setup> {
  /** Added to the weights. */
  readonly boost?: Partial<Record<Kind, number>>;
}

type OneOf = <T>(...choices: T[]) => T;
const SOFT: Theme = { softSixths: 6, staleWhileRevalidateMs: 2_000, isWriteOnly: false, negativeTtlMs: 0 };
const THEMES = {
  any: (): Theme => ({}),
  /** Nobody knows what a load's tags are before it ends. */
  tags: (): Theme => ({ covering: "tags" }),
  soft: (oneOf: OneOf): Theme => ({
    ...SOFT,
    covering: oneOf<"names" | "tags">("names", "tags"),
    keys: oneOf(1, 2),
    boost: { word: 8, pass: 6 },
  }),
  /** Values come from nodes that have applied the same at other times. */
  handover: (oneOf: OneOf): Theme => ({
    ...SOFT,
    covering: "names",
    keys: 1,
    nodes: oneOf(2, 3),
    replicas: 2,
    boost: { drain: 10, see: 4, tell: 10, pass: 8, getToItsEnd: 10, word: 6 },
  }),
  /** Nodes that do not serve the group have copies all the same. */
  askers: (oneOf: OneOf): Theme => ({
    askers: 1,
    ...oneOf<Theme>({ nodes: 2 }, { nodes: 3 }, { nodes: 4, askers: 2 }),
  }),
} as const;
const THEMES_BY_WEIGHT = ["any", "any", "any", "tags", "soft", "handover", "askers"] as const;

/** @param theme @default one of all */
export function planOf(seed: number, theme?: keyof typeof THEMES): Plan {
  const random = randomOf(seed);
  const below = (count: number) => Math.floor(random() * count);
  const oneOf = <T>(...choices: T[]): T => choices[below(choices.length)]!;
  const ttlMs = oneOf(null, null, 1_000, 3_000);
  const any: Setup = {
    nodes: oneOf(1, 2, 2, 3, 3, 4),
    askers: 0,
    keys: oneOf(1, 2, 2, 3, 4),
    replicas: oneOf(1, 1, 2),
    ttlMs,
    staleWhileRevalidateMs: oneOf(0, 0, 500, 2_000),
    staleIfErrorMs: oneOf(0, 0, 2_000),
    softTimeoutMs: oneOf(null, null, null, 100),
    refreshAhead: ttlMs !== null && oneOf(false, true),
    negativeTtlMs: oneOf(0, 1_000),
    hotAfterFetches: oneOf(0, 1, 2),
    budgetBytes: oneOf(10_000, 10_000, 10_000, 30),
    maxBlindMs: oneOf(null, null, 500),
    isWriteOnly: below(12) === 0,
    softSixths: oneOf(0, 2, 2, 4, 6),
    covering: "any",
    hasValidators: oneOf(false, true),
  };
  const { boost = {}, ...rest } = THEMES[theme ?? oneOf(...THEMES_BY_WEIGHT)](oneOf);
  const setup = { ...any, ...rest };
  // Each run leaves out some kinds, so that the others meet more often ("swarm testing", Groce et al., ISSTA 2012).
  const kinds: Kind[] = [];
  for (const kind of KINDS) {
    const share = ALWAYS.has(kind) ? oneOf(1, 1, 2) : oneOf(0, 0, 1, 2);
    for (let i = 0; i < share * WEIGHTS[kind] + (boost[kind] ?? 0); i++) kinds.push(kind);
  }
  const steps = Array.from({ length: 20 + below(41) }, (): Step => [oneOf(...kinds), below(12), below(12), below(12)]);
  return { seed, setup, steps };
}

export interface Result {
  /** `undefined`: each answer was allowed. */
  readonly violation: string | undefined;
  /** How many steps were done. */
  readonly steps: number;
  readonly tally: Tally;
}

export interface RunOptions {
  readonly mistakes?: Mistakes | undefined;
  readonly say?: (line: string) => void;
}

/** The steps, then everything heals, and all nodes must have what is newest. Runs must not overlap. */
export async function run({ seed, setup, steps }: Plan, { mistakes, say }: RunOptions = {}): Promise<Result> {
  const world = new World(setup, randomOf(~seed), mistakes, say);
  const unwatch = watchStores((caches, key, store) => world.store(caches, key, store));
  try {
    return await runIn(world, steps, say);
  } finally {
    unwatch();
    for (const life of world.lives) life.group.close();
  }
}

async function runIn(world: World, steps: readonly Step[], say: RunOptions["say"]): Promise<Result> {
  await world.settle();
  for (const [index, step] of steps.entries()) {
    world.at = index + 1;
    if (say !== undefined) say(`${String(world.at).padStart(3)} ${step.join(" ")}`);
    await stepIn(world, step);
    await world.settle();
    if (world.violation !== undefined) return { violation: world.violation, steps: index + 1, tally: world.tally };
  }
  await checkQuiet(world);
  return { violation: world.violation, steps: steps.length, tally: world.tally };
}

function messageOf(world: World, b: number, c: number): Invalidation {
  const soft = (b + c) % 6 < world.setup.softSixths;
  const key = KEYS[c % world.setup.keys]!;
  const { covering } = world.setup;
  switch (covering === "any" ? b % 8 : covering === "tags" ? 2 + b % 2 : [1, 1, 4, 5][b % 4]) {
    case 0:
      return invalidationOf({ all: true, soft });
    case 1:
      return invalidationOf({ prefixes: [key[0]!], soft });
    case 2:
      return invalidationOf({ tags: [`t${1 + c % 3}`], soft });
    case 3:
      return invalidationOf({ tags: [`t${1 + c % 3}`, "t2"], soft });
    case 4:
      return invalidationOf({ keys: [key, "b1"], prefixes: ["a2"], soft });
    default:
      return invalidationOf({ keys: [key], soft });
  }
}

async function stepIn(world: World, [kind, a, b, c]: Step): Promise<void> {
  const { lives, network, log, clock } = world;
  const life = lives[a % lives.length]!;
  const key = b % world.setup.keys;
  const isAlive = !life.isDead;
  const item = () => network.items[b % Math.max(1, network.items.length)];
  switch (kind) {
    case "get":
      if (isAlive) world.get(life, key);
      return;
    case "getAfter":
      if (isAlive) world.get(life, key, { epoch: log.epoch, sequence: Math.max(0, log.lastSequence - c % 3) });
      return;
    case "getToItsEnd":
      if (isAlive) {
        world.get(life, key);
        await endAll(world, 12);
      }
      return;
    case "leave": {
      const asking = [...world.asking][b % Math.max(1, world.asking.size)];
      asking?.cancel.abort(LEFT);
      if (asking !== undefined) world.say(`${asking.what} is left`);
      return;
    }
    case "deliver": {
      const one = item();
      if (one !== undefined) world.take(one, false);
      return;
    }
    case "deliverAll":
      return await deliverAll(world, 4 + a, () => b + c);
    case "lose": {
      const one = item();
      if (one !== undefined) world.take(one, true);
      return;
    }
    case "originAnswers":
      return originAnswers(world, b, c === 0 ? "fails" : c < 4 ? "late" : "early");
    case "tell":
      if (isAlive) life.view.tell(b < 6 ? 1 + b % 3 : Infinity, clock.nowMs(), c < 9);
      return;
    case "change": {
      const message = messageOf(world, b, c);
      world.change(message, true);
      if (a < 9) world.publish(message);
      else world.unpublished.push(message);
      if (a < 4) { for (const one of lives) if (!one.isDead) one.view.tell(Infinity, clock.nowMs(), true); }
      return;
    }
    case "word":
      world.publish(a < 6 ? messageOf(world, b, c) : log.published.at(-1)?.message ?? messageOf(world, b, c));
      if (b < 6) tellAll(world);
      return;
    case "publish": {
      const message = world.unpublished.splice(b % Math.max(1, world.unpublished.length), 1)[0];
      if (message !== undefined) world.publish(message);
      return;
    }
    case "changeUnlogged":
      if (isAlive) {
        world.say(`at ${life.name}: ${sayMessage(messageOf(world, b, c))}`);
        world.changeUnlogged(life, messageOf(world, b, c));
      }
      return;
    case "flush":
      if (isAlive) world.flush(life);
      return;
    case "write":
      if (isAlive) world.write(life, key, c % 2 === 0);
      return;
    case "pass":
      world.say(`${PASS_MS[b % PASS_MS.length]} ms pass`);
      return await clock.advance(PASS_MS[b % PASS_MS.length]!);
    case "cut":
      if (isAlive) life.view.cut();
      return;
    case "heal":
      life.view.isCut = false;
      if (c % 2 === 0 && isAlive) life.view.tell(Infinity, clock.nowMs(), true);
      return;
    case "skip":
      return log.passOver();
    case "forget":
      return log.forget(1 + c % 4);
    case "loseLog":
      return log.lose();
    case "see":
      if (c < 3) { for (const one of lives) world.see(one); }
      else world.see(life);
      return;
    case "kill":
      return world.kill(life);
    case "evict":
      return world.evict(life);
    case "restart":
      return world.restart(a % lives.length, c < 9);
    case "drain":
      world.drain(life);
      if (c < 6) { for (const one of lives) world.see(one); }
      return;
    case "unasked":
      return life.unasked();
  }
}

function tellAll({ lives, clock }: World): void {
  for (const { isDead, view } of lives) if (!isDead) view.tell(Infinity, clock.nowMs(), true);
}

async function deliverAll(world: World, most: number, pick: () => number): Promise<void> {
  const { network } = world;
  for (let i = 0; i < most && network.items.length > 0; i++) {
    world.take(network.items[(pick() + i) % network.items.length]!, false);
    await world.settle();
  }
}

function originAnswers(world: World, which: number, outcome: "early" | "late" | "fails"): void {
  const load = world.loads[which % Math.max(1, world.loads.length)];
  if (load === undefined) return;
  world.say(`${load.what} ends: ${outcome}`);
  load.end(outcome);
}

/** The most rounds until nothing is under way any more. */
const MAX_QUIET_ROUNDS = 60;

/** Everything heals. Then each node has what is newest, and owners keep it. */
async function checkQuiet(world: World): Promise<void> {
  const { lives, clock, setup } = world;
  const living = () => lives.filter(({ isDead }) => !isDead);
  // Without one that serves there is nothing newest to be had.
  if (!living().some(({ isServed, isDraining }) => isServed && !isDraining)) world.restart(0, true);
  for (const message of world.unpublished.splice(0)) world.publish(message);
  for (const life of lives) {
    life.view.isCut = false;
    world.evict(life);
    life.unasked();
    if (life.isDead) continue;
    while (life.history.pending.size > 0) world.flush(life);
  }
  tellAll(world);
  for (const life of living()) world.see(life);
  for (let round = 0; round < MAX_QUIET_ROUNDS; round++) {
    await endAll(world);
    if (world.asking.size === 0 && round > 4) break;
    await clock.advance(round < 5 ? 20_000 : 1_000);
    tellAll(world);
  }
  if (world.violation !== undefined) return;
  const [asking] = world.asking;
  if (asking !== undefined) return world.fail(`${asking.what} never ends`);
  tellAll(world);
  world.at++;
  for (const life of living()) {
    for (let key = 0; key < setup.keys; key++) {
      await world.getNewest(life, key, () => endAll(world));
    }
  }
}

/** Until nothing waits for the network or the origin. */
async function endAll(world: World, most = 200): Promise<void> {
  await world.settle();
  for (let i = 0; i < most && world.network.items.length + world.loads.length > 0; i++) {
    const [item] = world.network.items;
    if (item !== undefined) world.take(item, false);
    else originAnswers(world, 0, "late");
    await world.settle();
  }
}

/** What a violation is, whichever node, key and number it is about. */
export function kindOf(violation: string): string {
  return violation.replaceAll(/\(.*?\)/g, "").replaceAll(/[a-zA-Z]?[\d/#]+|\b[A-D]\b/g, "N");
}

/** Leaves out what a failing run does not need. @returns a smaller plan that fails in the same way */
export async function shrink(plan: Plan, mistakes?: Mistakes): Promise<Plan> {
  const kind = async (one: Plan) => {
    const { violation } = await run(one, { mistakes });
    return violation && kindOf(violation);
  };
  const wanted = await kind(plan);
  const isFailing = async (one: Plan) => await kind(one) === wanted;
  let best = plan;
  for (let isSmaller = true; isSmaller;) {
    isSmaller = false;
    for (let size = Math.ceil(best.steps.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
      for (let at = best.steps.length - size; at >= 0; at -= size) {
        const steps = [...best.steps.slice(0, at), ...best.steps.slice(at + size)];
        if (!await isFailing({ ...best, steps })) continue;
        best = { ...best, steps };
        isSmaller = true;
      }
    }
    for (const setup of plainer(best.setup)) {
      if (!await isFailing({ ...best, setup })) continue;
      best = { ...best, setup };
      isSmaller = true;
    }
  }
  return best;
}

const PLAIN_SETUP: Partial<Setup> = {
  replicas: 1,
  ttlMs: null,
  staleWhileRevalidateMs: 0,
  staleIfErrorMs: 0,
  softTimeoutMs: null,
  refreshAhead: false,
  negativeTtlMs: 0,
  hotAfterFetches: 0,
  budgetBytes: 10_000,
  maxBlindMs: null,
  isWriteOnly: false,
  covering: "any",
  hasValidators: false,
};

function plainer(setup: Setup): Setup[] {
  const all: Setup[] = [];
  if (setup.nodes > setup.askers + 1) all.push({ ...setup, nodes: setup.nodes - 1 });
  if (setup.askers > 0) all.push({ ...setup, askers: setup.askers - 1 });
  if (setup.keys > 1) all.push({ ...setup, keys: setup.keys - 1 });
  for (const [field, plain] of Object.entries(PLAIN_SETUP)) {
    if (setup[field as keyof Setup] !== plain) all.push({ ...setup, [field]: plain });
  }
  return all;
}

/** What happens in a run, line by line. */
export async function tell(plan: Plan, mistakes?: Mistakes): Promise<string> {
  const lines: string[] = [`seed ${plan.seed}`, `setup ${JSON.stringify(plan.setup)}`];
  const { violation } = await run(plan, { mistakes, say: (line) => lines.push(line) });
  lines.push(`=> ${violation ?? "allowed"}`, `steps ${JSON.stringify(plan.steps)}`);
  return lines.join("\n");
}

export type { Mistakes, Setup, Tally };
export type ThemeName = keyof typeof THEMES;
