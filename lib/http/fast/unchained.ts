import type { Hono } from "hono";

/**
 * A promise of a response that Hono hands on as it is.
 *
 * Around what is `instanceof Promise` Hono puts two promises more, to see whether it fails and whether it has a value. Their
 * callbacks keep the request's context, with the sixteen functions that Hono gives each one: together 4 to 6 % of the CPU
 * time of a hop. Where Hono itself wants the response, for HEAD, it awaits this.
 */
class Unchained implements PromiseLike<Response> {
  readonly promise: Promise<Response>;

  constructor(promise: Promise<Response>) {
    this.promise = promise;
  }

  then<A = Response, B = never>(
    answered?: ((response: Response) => A | PromiseLike<A>) | null,
    failed?: ((error: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.promise.then(answered, failed);
  }
}

/**
 * What a handler returns in the place of a promise, in an app whose `fetch` is the one below.
 *
 * @param promise must not reject: Hono's `onError` would not hear of it
 */
export function unchained(promise: Promise<Response>): Promise<Response> {
  return new Unchained(promise) as unknown as Promise<Response>;
}

/** The app's `fetch` for servers, which take a response or a promise and nothing else. */
export function chained({ fetch }: Hono): Hono["fetch"] {
  return (request, env, context) => {
    const answer = fetch(request, env, context);
    return answer instanceof Unchained ? answer.promise : answer;
  };
}
