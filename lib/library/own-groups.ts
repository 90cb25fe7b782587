/** The groups of a program. Their functions are origins of its node. */
import type { Config } from "../config/config.ts";
import type { Clock } from "../core/base/clock.ts";
import { ConfigError } from "../core/errors.ts";
import type { CheckedOrigin } from "../origins/origin.ts";
import { codecs } from "./codec.ts";
import type { Read } from "./config.ts";
import { type Loader, LoadOrigin } from "./load-origin.ts";

/** The groups that a node has now. */
export class OwnGroups {
  readonly #clock: Clock;
  #groups: Read["groups"];
  /** Each is shared by all origins that its group has had: those still answer loads for a while. */
  readonly #loaders = new Map<string, Loader>();

  constructor(groups: Read["groups"], clock: Clock) {
    this.#clock = clock;
    this.#groups = groups;
  }

  /**
   * The origins of the groups with a function. Until `follow`, a present group still calls its present function.
   *
   * @param config these groups' policies
   */
  origins({ groups: policies }: Config, groups = this.#groups): ReadonlyMap<string, CheckedOrigin> {
    return new Map(policies.flatMap((policy) => {
      const { name } = policy;
      const { load, type } = groups.get(name)!;
      if (load === undefined) return [];
      const loader = this.#loaders.get(name) ?? { load };
      this.#loaders.set(name, loader);
      return [[name, new LoadOrigin(policy, codecs[type], this.#clock, loader)]];
    }));
  }

  /** @throws ConfigError a group has another type. Stored values keep their form, here and on other nodes */
  checkTypes(groups: Read["groups"]): void {
    const faults = [...groups].flatMap(([name, { type }]) => {
      const before = this.#groups.get(name)?.type ?? type;
      return before === type ? [] : [`groups.${name}.type cannot change while the node runs: it is ${before}`];
    });
    if (faults.length > 0) throw new ConfigError(`Cannot reload: ${faults.join("; ")}`);
  }

  /** Makes these the groups from now on. Later loads call their functions. */
  follow(groups: Read["groups"]): void {
    this.#groups = groups;
    for (const [name, loader] of this.#loaders) {
      const load = groups.get(name)?.load;
      if (load === undefined) this.#loaders.delete(name);
      else loader.load = load;
    }
  }
}
