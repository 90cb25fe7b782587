/**
 * The script of the status page, as its text. It replaces parts of the page with those that the node sends, says when
 * the node is silent, and sends what an operator types. It keeps the token in a variable, nowhere else.
 */
export const script = `(() => {
"use strict";
const SILENT_AFTER_MS = 3000, MOST_SHOWN = 4000;
let token = "", timer, since;
const find = (id) => document.getElementById(id);
const withToken = (all) => token === "" ? all : { ...all, authorization: "Bearer " + token };
const contact = (text) => {
  const line = find("contact");
  if (line === null || line.textContent === text) return;
  line.textContent = text;
  line.hidden = text === "";
  document.body.classList.toggle("old", text !== "");
};
const lost = () => {
  since ??= new Date().toLocaleTimeString();
  contact("This node has not answered since " + since + ". The figures below are old.");
};
const heard = () => {
  clearTimeout(timer);
  timer = setTimeout(lost, SILENT_AFTER_MS);
  since = undefined;
  contact("");
};
const replace = (element, html) => {
  const open = [...element.querySelectorAll("details")].map((each) => each.open);
  const left = [...element.querySelectorAll(".scroll")].map((each) => each.scrollLeft);
  const focused = [...element.querySelectorAll("a,summary,.scroll")].indexOf(document.activeElement);
  element.innerHTML = html;
  element.querySelectorAll("details").forEach((each, i) => each.open = open[i] ?? false);
  element.querySelectorAll(".scroll").forEach((each, i) => each.scrollLeft = left[i] ?? 0);
  if (focused >= 0) element.querySelectorAll("a,summary,.scroll")[focused]?.focus({ preventScroll: true });
};
const show = (message) => {
  const line = message.split("\\n").find((each) => each.startsWith("data: "));
  if (line === undefined) return;
  for (const [id, html] of Object.entries(JSON.parse(line.slice(6)))) {
    const element = find(id);
    if (element !== null) replace(element, html);
  }
};
const follow = async () => {
  for (;;) {
    try {
      const answer = await fetch("/events", { headers: withToken({}), cache: "no-store" });
      if (!answer.ok) throw new Error(String(answer.status));
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let text = "";;) {
        const { value, done } = await reader.read();
        if (done) break;
        heard();
        const messages = (text + value).split("\\n\\n");
        text = messages.pop();
        messages.forEach(show);
      }
    } catch { /* it is told below */ }
    lost();
    await new Promise((over) => setTimeout(over, 1000));
  }
};
const answerOf = async (answer) => {
  const isJson = (answer.headers.get("content-type") ?? "").includes("json");
  const text = isJson ? JSON.stringify(await answer.json(), null, 2) : await answer.text();
  const shown = text.length > MOST_SHOWN ? text.slice(0, MOST_SHOWN) + "\\n(cut here)" : text;
  return { text: [answer.status + " " + answer.statusText, answer.headers.get("cache-status") ?? "", "", shown].join("\\n") };
};
const made = (tag, props, ...children) => {
  const element = Object.assign(document.createElement(tag), props);
  element.append(...children);
  return element;
};
const spanOf = (ms) => {
  if (ms === null) return "no end";
  if (ms < 0) return spanOf(-ms) + " over";
  const [unit, name] = [[86400000, " d"], [3600000, " h"], [60000, " min"], [1000, " s"]].find(([each]) => ms >= each) ?? [1, " ms"];
  return Math.floor(ms / unit) + name;
};
const HEADS = ["node", "rank", "link", "holds", "state", "age", "lifetime left", "label", "invalidated at", "bytes", "tags"];
const heldCells = ({ cache, varies, state, ageMs, freshMs, label, lastInvalidation, bytes, tags }) => [
  varies === undefined ? cache : cache + ", by " + varies.join(", "), state, spanOf(ageMs), spanOf(freshMs),
  label.sequence, lastInvalidation, bytes, tags === "any" ? "too many to keep" : tags.join(" "),
];
const explained = ({ node, get, isLoading, nodes }) => {
  const rows = nodes.flatMap(({ name, rank, link, explanation, fault }) => {
    const first = [name, rank === 1 ? "1 (owner)" : rank ?? "", link];
    if (explanation === undefined) return [[...first, fault]];
    return explanation.held.length === 0 ? [[...first, "nothing"]] : explanation.held.map((held) => [...first, ...heldCells(held)]);
  });
  const cells = (row) => row.map((text, i) => {
    const cell = made("td", { textContent: text });
    cell.dataset.head = HEADS[i];
    if (i === row.length - 1 && i < HEADS.length - 1) cell.colSpan = HEADS.length - i;
    return cell;
  });
  const table = made("table", {}, made("thead", {}, made("tr", {}, ...HEADS.map((text) => made("th", { scope: "col", textContent: text })))),
    made("tbody", {}, ...rows.map((row) => made("tr", {}, ...cells(row)))));
  return {
    text: "a get at " + node + " is a " + get.result + ": " + get.detail + (isLoading ? "; a load of it is in flight" : ""),
    below: made("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: "The nodes of the key" }, table),
  };
};
const onSubmit = (id, run) => find(id)?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const output = event.target.querySelector("output");
  output.textContent = "…";
  output.nextElementSibling?.remove();
  const startedMs = performance.now();
  try {
    const { text, below } = await run(event.target.elements, event.submitter?.value);
    output.textContent = text === "" ? "" : Math.round(performance.now() - startedMs) + " ms: " + text;
    if (below !== undefined) output.after(below);
  } catch (error) {
    output.textContent = "The node does not answer: " + error.message;
  }
});
const keyOf = (select, key) => select.selectedOptions[0].dataset.site ? key : encodeURIComponent(key);
const start = () => {
  for (const form of document.querySelectorAll("section[hidden]")) form.hidden = false;
  onSubmit("look", async ({ group, key }, what) => {
    token = find("operator")?.value || token;
    if (what !== "explain") return answerOf(await fetch("/cache/" + group.value + "/" + keyOf(group, key.value)));
    const path = "/_admin/groups/" + group.value + "/explain?key=" + encodeURIComponent(key.value) + "&nodes";
    const answer = await fetch(path, { headers: withToken({}) });
    return answer.ok ? explained(await answer.json()) : answerOf(answer);
  });
  onSubmit("invalidate", async ({ operator, group, kind, names, soft, wait }) => {
    token = operator.value;
    const list = names.value.split("\\n").map((each) => each.trim()).filter((each) => each !== "");
    const message = { ...(kind.value === "all" ? { all: true } : { [kind.value]: list }), soft: soft.checked };
    return answerOf(await fetch("/_admin/groups/" + group.value + "/invalidate" + (wait.checked ? "?wait" : ""), {
      method: "POST", headers: withToken({ "content-type": "application/json" }), body: JSON.stringify(message),
    }));
  });
  const operator = find("operator");
  if (operator !== null) operator.value = token;
  void follow();
};
if (find("unlock") === null) return start();
onSubmit("unlock", async ({ operator }) => {
  token = operator.value;
  const answer = await fetch("/", { headers: withToken({ accept: "text/html" }), cache: "no-store" });
  if (!answer.ok) return { text: "this is not the token of the node (" + answer.status + ")" };
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  document.title = page.title;
  document.body.replaceWith(page.body);
  start();
  return { text: "" };
});
})();`;
