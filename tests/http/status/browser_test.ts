/**
 * The status page in a real browser, on a live cluster of Bun and Deno.
 * Runs once: its subject is in processes of their own.
 */
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import process from "node:process";
import { type Browser, chromium, type Page } from "playwright-core";
import { startNats } from "../../support/nats-server.ts";
import { assembled, startNode, temporaryDirectory } from "../../support/node.ts";
import { type Defer, test } from "../../support/test.ts";
import { PATIENCE } from "../../support/until.ts";

/** What the page promises. */
const TOLD_WITHIN_MS = 3_000;
const DESKTOP = { width: 1280, height: 800 };
const PHONE = { width: 360, height: 740 };
/** Where to put pictures, for a person who wants to look at the page. */
const pictures = process.env["MUSTER_SCREENSHOTS"];

/** Answers with the key, until it is told to fail. */
async function startApi(defer: Defer) {
  const state = { isFailing: false, url: "" };
  const server = createServer((request, response) => {
    response.writeHead(state.isFailing ? 503 : 200, { "content-type": "text/plain", "cache-control": "max-age=60" });
    response.end(request.url);
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  defer(() => server.closeAllConnections());
  defer(() => server.close());
  state.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/{key}`;
  return state;
}

async function openBrowser(defer: Defer): Promise<Browser> {
  const args = ["--no-sandbox", "--disable-gpu"];
  const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args, timeout: PATIENCE * 30_000 });
  defer(() => browser.close());
  return browser;
}

/** A page, and what its console complained of. */
async function openPage(browser: Browser, url: string, isDark = false): Promise<{ page: Page; complaints: string[] }> {
  const page = await browser.newPage({ viewport: DESKTOP, colorScheme: isDark ? "dark" : "light" });
  const complaints: string[] = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error") complaints.push(message.text());
  });
  await page.goto(url);
  return { page, complaints };
}

/** Waits until the first screen shows this text, without a step by the reader. */
async function seen(page: Page, text: string | RegExp, timeoutMs = PATIENCE * 10_000): Promise<void> {
  const found = page.getByText(text).first();
  await found.waitFor({ state: "visible", timeout: timeoutMs });
  // The next message puts another element in its place.
  const end = () => found.evaluate((each) => each.getBoundingClientRect().bottom, undefined, { timeout: timeoutMs });
  assert.ok(await end() <= page.viewportSize()!.height, `${text} is below the first screen`);
}

async function picture(page: Page, name: string, fullPage = false): Promise<void> {
  await page.evaluate("scrollTo(0, 0)");
  if (pictures === undefined) return;
  mkdirSync(pictures, { recursive: true });
  await page.screenshot({ path: `${pictures}/${name}.jpg`, type: "jpeg", quality: 45, fullPage });
}

/** Clients ask until the plots have something to show. */
async function plotted(page: Page, url: string, samples: number): Promise<void> {
  const line = page.locator("#plots polyline.gets").last();
  for (let i = 0;; i++) {
    for (let k = 0; k < 20; k++) await (await fetch(`${url}/cache/api/k${(i * k) % 40}`)).body?.cancel();
    const points = await line.getAttribute("points", { timeout: 10_000 });
    if (points!.split(" ").length >= samples) return;
  }
}

/** Nothing is cut off at the side, and every row says what its figures are. */
async function assertFits(page: Page): Promise<void> {
  const root = page.locator("html");
  const [inside, outside] = await root.evaluate(({ scrollWidth, clientWidth }) => [scrollWidth, clientWidth]);
  assert.ok(inside! <= outside!, `${inside} px of ${outside}`);
  const cut = await page.locator(".scroll").evaluateAll((all) =>
    all.filter((each) => each.scrollWidth > each.clientWidth).map((each) => each.getAttribute("aria-label"))
  );
  assert.deepEqual(cut, []);
}

/** A broken cluster is told as broken on the first screen within 3 s. */
async function watchClusterBreak(browser: Browser, defer: Defer): Promise<void> {
  const [nats, api] = await Promise.all([startNats(defer), startApi(defer)]);
  const options = ["--nats", nats.url, "--group", "dict=wordnet:", "--group", `api=${api.url}`];
  const [first, second] = await Promise.all([
    startNode(defer, "bun", options),
    startNode(defer, "deno", [...options, "--zone", "b"]),
  ]);
  await assembled([first, second]);
  const { page, complaints } = await openPage(browser, first.url);
  await seen(page, "All is well.");
  const third = await startNode(defer, "bun", options);
  await assembled([first, second, third]);
  const nameOf = ({ url }: { url: string }) => url.slice("http://".length).replace(/[.:]/g, "-");
  await seen(page, nameOf(third));
  await page.getByLabel("Key or word").fill("rendezvous");
  await page.getByRole("button", { name: "Get" }).click();
  await page.getByText(/200 OK[^]*a meeting planned/).waitFor();
  // The address of a group, and a key, are put together as the node reads them.
  await page.locator("#look select").selectOption("api");
  await page.getByLabel("Key or word").fill("a/b c?d");
  await page.getByRole("button", { name: "Get" }).click();
  await page.locator("#look output").getByText("/a%2Fb%20c%3Fd").waitFor();
  await page.getByRole("button", { name: "Explain" }).click();
  // The fleet, not this node: who owns the key, and where it is held.
  const told = page.locator("#look tbody");
  await told.getByText("1 (owner)").waitFor();
  assert.match(await page.locator("#look output").innerText(), /a get at \S+ is a (hit|miss): /);
  assert.equal(await told.getByRole("row").count(), 3);
  assert.match(await told.innerText(), /main\s+fresh/);
  for (let i = 0; i < 20; i++) await fetch(`${first.url}/cache/api/k${i % 8}`);
  await page.evaluate("scrollTo(0, 0)");
  await seen(page, "All is well.");
  // The others tell their figures to the node that shows the page.
  for (const { url } of [second, third]) {
    await page.locator("tr", { hasText: nameOf({ url }) }).first().getByText(/^\d+ MiB$/).waitFor();
  }
  await plotted(page, first.url, pictures === undefined ? 3 : 15);
  await picture(page, "well-light");
  await picture(page, "well-whole", true);
  await page.setViewportSize(PHONE);
  await assertFits(page);
  await picture(page, "well-phone");
  await page.setViewportSize(DESKTOP);

  api.isFailing = true;
  await Promise.all([nats.stop("SIGKILL"), third.end("SIGKILL")]);
  await Promise.all(Array.from({ length: 12 }, (_, i) => fetch(`${first.url}/cache/api/new${i}`)));
  const brokenAtMs = performance.now();
  const within = () => Math.max(1, TOLD_WITHIN_MS - (performance.now() - brokenAtMs));
  await seen(page, /\d things are broken\./, within());
  await seen(page, /NATS cannot be reached/, within());
  await seen(page, `${nameOf(third)} does not answer`, within());
  await seen(page, /the origin of api fails .*503/, within());
  await picture(page, "broken-light");
  const dark = await openPage(browser, second.url, true);
  await seen(dark.page, /NATS cannot be reached/);
  await picture(dark.page, "broken-dark");
  await dark.page.setViewportSize(PHONE);
  await assertFits(dark.page);
  await picture(dark.page, "broken-phone");
  assert.deepEqual([...complaints, ...dark.complaints], []);

  // Without NATS a node takes up to a second more to leave.
  const { code, tookMs } = await first.end();
  assert.equal(code, 0);
  assert.ok(tookMs < 5_000, `an open page held the node for ${tookMs} ms`);
  await seen(page, /This node has not answered since/);
}

/** An operator types the token, sees the page, and invalidates, by keyboard alone. */
async function invalidateByKeyboard(browser: Browser, defer: Defer): Promise<void> {
  const token = "a-token-of-operators-1";
  const file = join(temporaryDirectory(defer), "token");
  writeFileSync(file, token, { mode: 0o600 });
  const options = ["--nats", "off", "--group", "dict=wordnet:", "--admin-token-file", file];
  const node = await startNode(defer, "deno", options);
  const { page } = await openPage(browser, node.url);
  await page.getByLabel("Token").fill("not the right token");
  await page.keyboard.press("Enter");
  await page.getByText("this is not the token of the node (401)").waitFor();
  await page.getByLabel("Token").fill(token);
  await page.keyboard.press("Enter");
  await seen(page, "All is well.");
  await fetch(`${node.url}/define/rendezvous`);
  await page.getByLabel("Names, one a line").fill("rendezvous");
  await page.getByLabel("wait for all nodes").focus();
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.getByText(/200 OK[^]*"sequence": \d/).waitFor();
  await page.locator("#events").getByText(/invalidated in dict: .*rendezvous/).waitFor();
  assert.match((await fetch(`${node.url}/define/rendezvous`)).headers.get("cache-status")!, /fwd=miss/);
  assert.deepEqual(await page.evaluate("[document.cookie, localStorage.length, sessionStorage.length]"), ["", 0, 0]);
}

/** Without a script the page still shows its tables, and loads itself anew. */
async function readWithoutScript(browser: Browser, defer: Defer): Promise<void> {
  const node = await startNode(defer, "bun", ["--nats", "off"]);
  const context = await browser.newContext({ javaScriptEnabled: false, viewport: DESKTOP });
  const page = await context.newPage();
  await page.goto(node.url);
  assert.equal(await page.getByRole("row").count() >= 4, true);
  assert.equal(await page.locator("form:visible").count(), 0);
  await fetch(`${node.url}/define/rendezvous`);
  await page.locator("#groups").getByText("0.0 %").waitFor({ timeout: PATIENCE * 10_000 });
}

// One test, since a browser takes seconds to start.
test("a browser shows a cluster break within 3 s, takes the token by keyboard, and needs no script to read", {
  programs: ["chromium"],
  timeoutMs: 180_000,
}, async (defer) => {
  const browser = await openBrowser(defer);
  await watchClusterBreak(browser, defer);
  await Promise.all([invalidateByKeyboard(browser, defer), readWithoutScript(browser, defer)]);
});
