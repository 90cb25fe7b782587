/** Headers that separate operators' pages from foreign content and from other sites' pages. */

/** For operators' pages and figures: no page of another origin may embed them, in any form. */
export const OF_OPERATORS: Readonly<Record<string, string>> = {
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
};

/**
 * `Content-Security-Policy` of values under the node's own host. Values are foreign content. A page among them gets its
 * own web origin, without scripts and forms, so it never shares the origin of the status page. This policy is added to
 * the origin's own, since a browser applies every policy of an answer.
 */
export const SANDBOX = "sandbox";
