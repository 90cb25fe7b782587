/** The status page as one document. It loads only its own messages, and works without its script. */
import { createHash } from "node:crypto";
import { html, raw } from "hono/html";
import { OF_OPERATORS } from "../../security.ts";
import type { Parts } from "./live.ts";
import { script } from "./script.ts";
import { style } from "./style.ts";
import type { Html } from "./table.ts";

/** The contents of one page. */
export interface PageParts {
  /** The name of the node or the machine. */
  readonly title: string;
  /** The groups that a form may name. */
  readonly groups: readonly { readonly name: string; readonly isSite: boolean }[];
  readonly parts: Parts;
}

/** Without a script the browser reloads the page. Chosen: often enough to watch, and a negligible load. */
const REFRESH_SECONDS = 5;

const hashOf = (text: string): string => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

/**
 * Allows one style, one script and requests to this node. Forbids pictures, framing, and forms that a browser sends by
 * itself.
 */
const POLICY = [
  "default-src 'none'",
  `style-src ${hashOf(style)}`,
  `script-src ${hashOf(script)}`,
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

/**
 * Makes the page from its present parts.
 *
 * @param options.isTokenSet whether operators have a token; without one a browser may change nothing
 */
export function statusPage(
  { title, groups, parts }: PageParts,
  { isTokenSet }: { readonly isTokenSet: boolean },
): Promise<Response> {
  const part = (id: string) => raw(parts[id] ?? "");
  const body = html`
    <header>
      <h1>${title}</h1>
      <nav><a href="/stats">JSON</a> <a href="/metrics">Prometheus</a></nav>
    </header>
    <p id="contact" role="alert" hidden></p>
    <section id="verdict" role="status" aria-label="Is all well">${part("verdict")}</section>
    <h2>Nodes</h2>
    <section id="nodes">${part("nodes")}</section>
    <h2>Groups</h2>
    <section id="groups">${part("groups")}</section>
    <section id="plots">${part("plots")}</section>
    <noscript><p>Without a script this page reloads every ${REFRESH_SECONDS} s, and has no forms.</p></noscript>
    <section hidden><h2>Look up a key</h2>${lookForm(groups, isTokenSet)}</section>
    <section hidden><h2>Invalidate</h2>${invalidateForm(groups, isTokenSet)}</section>
    <h2>What happened</h2>
    <section id="events">${part("events")}</section>
    <details>
      <summary>All figures</summary>
      <section id="inside">${part("inside")}</section>
    </details>
  `;
  return answer(200, documentOf(title, body, true));
}

/**
 * The page for a browser without the token. It asks for the token, since a link cannot carry one, and then shows the
 * page.
 */
export function lockedPage(title: string): Promise<Response> {
  const body = html`
    <header>
      <h1>${title}</h1>
    </header>
    <p>This page is for the operators of this node. Without a script, send the token with the request:
    <code>curl -H "Authorization: Bearer …"</code>.</p>
    <form id="unlock" autocomplete="off">${tokenField()}<button>Show</button><output></output></form>
  `;
  return answer(401, documentOf(title, body, false), { "www-authenticate": "Bearer" });
}

type Groups = PageParts["groups"];

function lookForm(groups: Groups, isTokenSet: boolean): Html {
  return html`<form id="look" autocomplete="off">${groupField(groups)}
<label>Key or word <input name="key" required maxlength="1024" spellcheck="false"></label>
<button value="get">Get</button> <button value="explain">Explain</button>
${isTokenSet ? html`<small>"Explain" uses the token that was typed below.</small>` : ""}
<output></output></form>`;
}

function invalidateForm(groups: Groups, isTokenSet: boolean): Html {
  if (!isTokenSet) {
    return html`<p>A browser may invalidate only on a node with <code>--admin-token-file</code>. From this machine a program
may: <code>curl -X PURGE localhost:…/cache/&lt;group&gt;/&lt;key&gt;</code></p>`;
  }
  return html`<form id="invalidate" autocomplete="off">${groupField(groups)}
<label>What <select name="kind"><option value="keys">keys</option><option value="prefixes">prefixes</option>
<option value="tags">tags</option><option value="all">everything</option></select></label>
<label>Names, one a line <textarea name="names" rows="3" spellcheck="false"></textarea></label>
<label><input type="checkbox" name="soft"> soft: make stale only</label>
<label><input type="checkbox" name="wait" checked> wait for all nodes</label>
${tokenField()}<button>Invalidate</button><output></output></form>`;
}

function groupField(groups: Groups): Html {
  return html`<label>Group <select name="group">${
    groups.map(({ name, isSite }) =>
      html`
        <option value="${name}" ${isSite ? raw(' data-site="1"') : ""}>${name}</option>
      `
    )
  }</select></label>`;
}

function tokenField(): Html {
  return html`<label>Token <input name="operator" id="operator" type="password" required autocomplete="off"></label>`;
}

function documentOf(title: string, body: Html, isRefreshed: boolean): Html {
  return html`
    <!doctype html>
    <html lang="en">
      <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width,initial-scale=1">
    <meta name="color-scheme" content="light dark">
    ${isRefreshed ? html`<noscript><meta http-equiv="refresh" content="${REFRESH_SECONDS}"></noscript>` : ""}
    <title>${title} - muster</title>
    <style>${raw(style)}</style>
      </head>
      <body>${body}<script>${raw(script)}</script></body>
    </html>
  `;
}

/** Makes a response with the policy of the page. No cache stores it. */
async function answer(status: number, page: Html, headers: Record<string, string> = {}): Promise<Response> {
  const body = new TextEncoder().encode(String(await page));
  return new Response(body, {
    status,
    headers: {
      "content-type": "text/html; charset=utf-8",
      "content-length": String(body.byteLength),
      "cache-control": "no-store",
      "content-security-policy": POLICY,
      "cross-origin-opener-policy": "same-origin",
      ...OF_OPERATORS,
      ...headers,
    },
  });
}
