/** Where a redirect of a template may lead: resolved addresses count, at the moment of the connection. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo, LookupFunction } from "node:net";
import { NotFoundError, OriginError, OriginUnreachableError } from "../../../lib/core/errors.ts";
import { kindOf, mayLeadTo } from "../../../lib/origins/http/addresses.ts";
import { TemplateOrigin } from "../../../lib/origins/http/template-origin.ts";
import { systemClock } from "../../../lib/runtime/process.ts";
import { type Defer, test } from "../../support/test.ts";

const never = new AbortController().signal;

test("every spelling of an address has the kind of what the system connects to", () => {
  const kinds: Readonly<Record<string, readonly string[]>> = {
    public: ["93.184.216.34", "::ffff:93.184.216.34", "2606:2800:220:1::1", "64:ff9b::5db8:d822"],
    loopback: ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1", "::ffff:7f00:1", "0.0.0.0", "0.1.2.3", "::"],
    linkLocal: ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "fe80::1%eth0", "febf::1"],
    private: ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "::ffff:10.0.0.1", "::ffff:c0a8:101"],
    uniqueLocal: ["fc00::1", "fd00:ec2::254"],
    carrierGradeNat: ["100.64.0.1", "100.100.100.200", "100.127.255.255"],
  };
  for (const [kind, addresses] of Object.entries(kinds)) {
    for (const address of addresses) assert.equal(kindOf(address), kind, address);
  }
  const odd = [
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a00:1",
    "2002:7f00:1::",
    "2001:0:a00:1::",
    "::7f00:1",
    "::ffff:0:7f00:1",
    "fec0::1",
    "ff02::1",
    "224.0.0.1",
    "255.255.255.255",
    "240.0.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "4000::1",
  ];
  const known = [...Object.keys(kinds)];
  for (const address of odd) {
    assert.ok(!known.includes(kindOf(address)), `${address} is ${kindOf(address)}`);
    for (const own of known) assert.equal(mayLeadTo(address, own), false, `${own} to ${address}`);
  }
  assert.equal(mayLeadTo("fd00:ec2::254", "private"), false);
  assert.equal(mayLeadTo("100.100.100.200", "private"), false);
  assert.equal(mayLeadTo("0.0.0.0", "private"), false);
});

interface Place {
  readonly port: number;
  readonly asked: string[];
}

/** Redirects `GET /<anything>` to what `to` says for it; other paths are answered. */
async function place(defer: Defer, to: (path: string) => string | undefined, host = "127.0.0.1"): Promise<Place> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url!);
    const location = to(request.url!);
    if (location !== undefined) response.writeHead(302, { location });
    response.end("here");
  });
  server.listen(0, host);
  await once(server, "listening");
  defer(() => {
    server.closeAllConnections();
    return new Promise((closed) => server.close(closed));
  });
  return { port: (server.address() as AddressInfo).port, asked };
}

/** Gives the next address of each name, the last one for ever, and tells when it was asked. */
function names(table: Record<string, string[]>, asked: string[] = []): LookupFunction {
  return (host, _options, callback) => {
    asked.push(host);
    const left = table[host]!;
    const address = left.length > 1 ? left.shift()! : left[0]!;
    // The caller is inside of `connect`.
    setTimeout(() => callback(null, [{ address, family: address.includes(":") ? 6 : 4 }]), 0);
  };
}

function template(defer: Defer, url: string, lookup?: LookupFunction): TemplateOrigin {
  const origin = new TemplateOrigin({ template: url }, { clock: systemClock, ...(lookup && { lookup }) });
  defer(() => origin.close());
  return origin;
}

const bodyOf = async (origin: TemplateOrigin, key: string) =>
  new TextDecoder().decode((await origin.load(key, never)).body);

test("a redirect leaves the origin's kind of address in no spelling, and nothing is sent there", async (defer) => {
  const hosts = [
    "169.254.169.254",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "169.254.43518",
    "169.254.169.254.",
    "10.0.0.1",
    "012.0.0.1",
    "[fd00:ec2::254]",
    "[fe80::1]",
    "100.100.100.200",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:a9fe:a9fe::]",
    "%31%36%39.254.169.254",
    "%EF%BC%91%EF%BC%96%EF%BC%99.254.169.254",
  ];
  const { port, asked } = await place(defer, (path) => `http://${hosts[Number(path.slice(1))]}/latest/meta-data`);
  const origin = template(defer, `http://127.0.0.1:${port}/{key}`);
  for (const [i, host] of hosts.entries()) {
    await assert.rejects(origin.load(`${i}`, never), (error: Error) => {
      assert.ok(error instanceof OriginError && !(error instanceof OriginUnreachableError), `${host}: ${error}`);
      assert.match(error.message, /no address that such an origin may lead to/, host);
      return true;
    });
  }
  assert.equal(asked.length, hosts.length);
});

test("an origin at a loopback address leads to loopback addresses, by whatever name", async (defer) => {
  const there = await place(defer, () => undefined);
  const { port } = there;
  const hosts = [
    "127.0.0.1",
    "localhost",
    "localhost.",
    "[::ffff:127.0.0.1]",
    "0.0.0.0",
    "2130706433",
    "0x7f.1",
    "some.name",
  ];
  const from = await place(defer, (path) => `http://${hosts[Number(path.slice(1))]}:${port}/there`);
  const lookup = names({ "some.name": ["127.0.0.1"], localhost: ["127.0.0.1"], "localhost.": ["127.0.0.1"] });
  const origin = template(defer, `http://127.0.0.1:${from.port}/{key}`, lookup);
  for (const i of hosts.keys()) assert.equal(await bodyOf(origin, `${i}`), "here", hosts[i]);
  assert.equal(there.asked.length, hosts.length);
});

test("a name that changes its address between two looks gains nothing: the address that is checked is connected to", async (defer) => {
  const there = await place(defer, () => undefined);
  const from = await place(defer, () => `http://rebound.test:${there.port}/secret`);
  // Public at the first look, loopback at each later one. The origin counts as public by its own name.
  const looks: string[] = [];
  const lookup = names({ "rebound.test": ["127.0.0.2", "169.254.169.254"] }, looks);
  const origin = template(defer, `http://127.0.0.1:${from.port}/{key}`, lookup);
  await assert.rejects(origin.load("a", never), OriginError);
  // 127.0.0.2 was allowed and connected to, though the name has another address by now.
  assert.deepEqual(looks, ["rebound.test"]);
  await assert.rejects(origin.load("b", never), /no address that such an origin may lead to/);
  assert.deepEqual(looks, ["rebound.test", "rebound.test"]);
  assert.deepEqual(there.asked, []);
});

test("a redirect to the origin's own name is checked as any other: the name may have changed its address", async (defer) => {
  const own = await place(defer, (path) => path === "/a" ? "/b" : undefined);
  const lookup = names({ "own.test": ["127.0.0.1", "169.254.169.254"] });
  const origin = template(defer, `http://own.test:${own.port}/{key}`, lookup);
  await assert.rejects(origin.load("a", never), /no address that such an origin may lead to/);
  assert.deepEqual(own.asked, ["/a"]);
});

test("of several addresses of a name only those that are allowed are connected to", async (defer) => {
  const there = await place(defer, () => undefined);
  const from = await place(defer, () => `http://both.test:${there.port}/there`);
  const lookup: LookupFunction = (_host, _options, callback) =>
    setTimeout(
      () => callback(null, [{ address: "169.254.169.254", family: 4 }, { address: "127.0.0.1", family: 4 }]),
      0,
    );
  const origin = template(defer, `http://127.0.0.1:${from.port}/{key}`, lookup);
  assert.equal(await bodyOf(origin, "a"), "here");
});

test("five redirects are followed, six are not; another scheme never is", async (defer) => {
  const { port, asked } = await place(defer, (path) => {
    const left = Number(path.slice(1));
    if (Number.isNaN(left)) return path.slice(1).replace(/%(..)/g, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
    return left === 0 ? undefined : `/${left - 1}`;
  });
  const origin = template(defer, `http://127.0.0.1:${port}/{key}`);
  assert.equal(await bodyOf(origin, "5"), "here");
  assert.equal(asked.length, 6);
  await assert.rejects(origin.load("6", never), /redirects more than 5 times/);
  assert.equal(asked.length, 12);
  for (const url of [`https://127.0.0.1:${port}/0`, "file:///etc/passwd", "dict://127.0.0.1/d:a", "data:,a"]) {
    await assert.rejects(origin.load(url, never), /another scheme/, url);
  }
});

test("a key brings no dot segment into the path of a template, in any spelling", async (defer) => {
  const { port, asked } = await place(defer, () => undefined);
  const keys = [
    "..",
    "../secret.txt",
    "a/../../secret.txt",
    "..\\secret.txt",
    "a\\..\\b",
    "a/..",
    "./a",
    "%2e%2e/a",
    "%2E.%2fa",
    "..%2fa",
    "..%5ca",
    "%252e%252e%252fa",
    "..;/a",
    "..;x=1/a",
    "a/..%3b/b",
  ];
  for (const path of ["/public/{key}", "/public/{+key}", "/public/{key}.txt", "/public/{+key}/x"]) {
    const origin = template(defer, `http://127.0.0.1:${port}${path}`);
    for (const key of keys) {
      // What is behind the key makes a name of its last dots.
      if (path.endsWith(".txt") && /\.$/.test(key)) continue;
      await assert.rejects(origin.load(key, never), NotFoundError, `${path} ${key}`);
    }
    for (const key of ["...", "a..b", "..a", "a/.b", "a%2eb", ".a/b"]) await origin.load(key, never);
  }
  // The key fills up dots of the template.
  await assert.rejects(template(defer, `http://127.0.0.1:${port}/a/.{key}/b`).load(".", never), NotFoundError);
  assert.ok(
    !asked.some((path) => /secret|\/\.\./.test(path.replaceAll("/..a", "").replaceAll("/...", ""))),
    asked.join(),
  );
  // A query is no path.
  await template(defer, `http://127.0.0.1:${port}/x?key={key}`).load("../a", never);
});
