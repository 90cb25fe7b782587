import assert from "node:assert/strict";
import { ConfigError, NotFoundError } from "../../lib/core/errors.ts";
import { DictOrigin } from "../../lib/origins/dict/dict-origin.ts";
import { SiteOrigin } from "../../lib/origins/http/site-origin.ts";
import { TemplateOrigin } from "../../lib/origins/http/template-origin.ts";
import { ModuleOrigin } from "../../lib/origins/module/module-origin.ts";
import { createOrigin, parseOrigin } from "../../lib/origins/origin.ts";
import { WordnetOrigin } from "../../lib/origins/wordnet/wordnet-origin.ts";
import { ManualClock } from "../support/clock.ts";
import { test } from "../support/test.ts";

test("an origin is read from what an operator writes", () => {
  const dict = (host: string, port: number, database: string) => ({ kind: "dict", host, port, database });
  assert.deepEqual(parseOrigin("wordnet:"), { kind: "wordnet" });
  assert.deepEqual(parseOrigin("none:"), { kind: "none" });
  assert.deepEqual(parseOrigin("dict://localhost"), dict("localhost", 2628, "*"));
  assert.deepEqual(parseOrigin("dict://localhost/"), dict("localhost", 2628, "*"));
  assert.deepEqual(parseOrigin("dict://127.0.0.1:26280/gcide"), dict("127.0.0.1", 26280, "gcide"));
  assert.deepEqual(parseOrigin("dict://dict.example/!"), dict("dict.example", 2628, "!"));
  assert.deepEqual(parseOrigin("dict://[::1]:1/*"), dict("::1", 1, "*"));
  for (
    const template of [
      "http://h/{key}",
      "https://h:8443/a/{key}.json?b=1",
      "http://h/?q={key}",
      "http://h/{key}/{key}",
      "http://h/{+key}",
      "http://h/?p={+key}",
    ]
  ) {
    assert.deepEqual(parseOrigin(template), { kind: "http", template });
  }
  for (
    const [text, base] of [
      ["http://h/*", "http://h/"],
      ["HTTPS://H:8443/a/b/*", "https://h:8443/a/b/"],
      ["http://h:80/ä/*", "http://h/%C3%A4/"],
    ] as const
  ) assert.deepEqual(parseOrigin(text), { kind: "site", base });
});

test("an origin that cannot be used is refused with the value and the rule", () => {
  const cases: [string, RegExp][] = [
    ["", /must be wordnet:, none:, dict/],
    ["wordnet", /must be wordnet:, none:, dict/],
    ["wordnet:/dir", /must be wordnet:, none:, dict/],
    ["ftp://h/{key}", /must be wordnet:, none:, dict/],
    ["none", /must be wordnet:, none:, dict/],
    ["none:x", /must be wordnet:, none:, dict/],
    ["module", /must be wordnet:, none:, dict.* or module:path: current/],
    ["module:", /must be module: and the path of a file/],
    ["dict:localhost", /must be dict:\/\/host/],
    ["dict://", /must be dict:\/\/host/],
    ["dict://user:pw@h/db", /must be dict:\/\/host/],
    ["dict://h/db?x=1", /must be dict:\/\/host/],
    ["dict://h:99999/db", /must be dict:\/\/host/],
    ["dict://h:0/db", /port from 1 to 65535/],
    ["dict://h/a/b", /must name a database/],
    ["dict://h/a b", /must name a database/],
    ["dict://h/a%0d%0ab", /must name a database/],
    ["dict://h/%ff", /well escaped/],
    ["http://h/path", /must have \{key\} or \{\+key\} in its path or query/],
    ["http://h/path#{key}", /must not have a fragment/],
    ["http://h/*#x", /must not have a fragment/],
    ["http://h/*/x", /must have \{key\} or \{\+key\} in its path or query, or end with/],
    ["http://h/x*", /must have \{key\} or \{\+key\} in its path or query, or end with/],
    ["http://h/*/*", /must have its one \* at the end/],
    ["http://h/?a=/*", /must have its one \* at the end/],
    ["http://h/{key}/*", /must have \{key\} or end with \/\*, not both/],
    ["http://h/{+key}/*", /must have \{key\} or end with \/\*, not both/],
    ["http://u:p@h/*", /user name or a password/],
    ["http://h/{key}#x", /must not have a fragment/],
    ["http://{key}.h/", /not in its host/],
    ["http://u:p@h/{key}", /user name or a password/],
    ["http:h/{key}", /must be http\(s\):\/\/host/],
    ["http:///{key}", /host|path/],
    ["http://h:x/{key}", /must be http\(s\):\/\/host/],
  ];
  for (const [text, rule] of cases) {
    assert.throws(() => parseOrigin(text), (error: Error) => {
      assert.ok(error instanceof ConfigError, text);
      assert.match(error.message, rule, text);
      assert.ok(error.message.endsWith(`current value is ${JSON.stringify(text)}`), error.message);
      return true;
    });
  }
});

test("each kind of origin is made from its description", async () => {
  const deps = { clock: new ManualClock() };
  const texts = ["wordnet:", "dict://h", "http://h/{key}", "http://h/*", "none:", "module:./nowhere.ts"];
  const made = texts.map((text) => createOrigin(parseOrigin(text), deps));
  assert.ok(made[0] instanceof WordnetOrigin);
  assert.ok(made[1] instanceof DictOrigin);
  assert.ok(made[2] instanceof TemplateOrigin);
  assert.ok(made[3] instanceof SiteOrigin);
  assert.equal(await made[0].check(), undefined);
  assert.equal(await made[2].check(), undefined);
  assert.equal(await made[3].check(), undefined);
  assert.equal(await made[4]!.check(), undefined);
  await assert.rejects(made[4]!.load("k", new AbortController().signal), NotFoundError);
  assert.ok(made[5] instanceof ModuleOrigin);
  await assert.rejects(made[5].check(), ConfigError);
  assert.deepEqual(made.map(({ forward }) => forward !== undefined), [false, false, false, true, false, false]);
  for (const origin of made) await origin.close();
  assert.equal(deps.clock.pending, 0);
});
