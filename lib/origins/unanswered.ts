import { OriginError } from "../core/errors.ts";

/** The origin gave no answer, not even a bad one: a load is safe to be tried again, as it changes nothing. */
export class UnansweredError extends OriginError {}
