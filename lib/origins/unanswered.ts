import { OriginError } from "../core/errors.ts";

/** The origin began no valid answer. A load may be tried again, as it changes nothing. */
export class UnansweredError extends OriginError {}
