import { OriginError } from "../core/errors.ts";

/** The origin began no answer that makes sense: a load is safe to be tried again, as it changes nothing. */
export class UnansweredError extends OriginError {}
