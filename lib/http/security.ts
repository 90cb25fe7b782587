/** Headers that keep foreign content and the pages of other sites apart from what operators see. */

/** On what operators see: no page of another origin may hold it, in any form. */
export const OF_OPERATORS: Readonly<Record<string, string>> = {
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
};

/**
 * `Content-Security-Policy` of values that stand under the node's own host. They are foreign content: a page among them gets
 * an origin of its own, without scripts and forms, so it never shares one with the status page. It adds to what an origin has
 * sent, since every policy of an answer counts.
 */
export const SANDBOX = "sandbox";
