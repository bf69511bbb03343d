// One trial large, or two beside each other.

let around = []; // trials that the arrow keys go through

let showAgain = null; // shows what the dialog shows anew
let openedFrom = null; // the control that opened it

function openSheet(title, buttons, columns, again) {
  const dialog = byId("dialog");
  const show = () => fill("sheet",
    h("div", { class: "sheet-top" }, h("h2", { id: "dialog-title" }, title), buttons,
      h("button", { id: "close", type: "button", onclick: () => dialog.close(), "aria-label": "Close" }, "✕")),
    h("div", { class: "sheet-cols" }, columns));
  const before = byId("dialog-title")?.textContent;
  showAgain = again;
  dialog.onkeydown = null;
  if (dialog.open) {
    keep(show);
    if (!dialog.contains(document.activeElement)) byId("close").focus(); // keys reach it only so
    if (title !== before) tell(title);
    return;
  }
  openedFrom = document.activeElement?.id;
  show();
  dialog.showModal();
  dialog.scrollTop = 0;
}

// The browser gives focus back to what had it, but not where that was made anew meanwhile.
byId("dialog").addEventListener("close", () => {
  if (openedFrom) byId(openedFrom)?.focus({ preventScroll: true });
});

function openTrial(trial, found = around, other = "content") {
  around = found.filter((one) => one.rank || one.reason);
  const one = trialOf(trial);
  const at = around.findIndex((candidate) => candidate.trial === trial);
  const go = (by) => {
    const next = around[at + by];
    if (!next) return;
    openTrial(next.trial, around, other);
    byId("dialog").scrollTop = 0;
  };
  const step = (by, sign, name) => h("button", { id: `step${by}`, type: "button", disabled: !around[at + by], onclick: () => go(by), "aria-label": name }, sign);
  const beside = sides().filter((side) => side.trial?.trial !== trial);
  const before = beside.find((side) => side.id === other) || beside[0];
  const choose = (event) => openTrial(trial, around, event.target.value);
  const shown = one.rank
    ? compare(before, { name: nameOf(one), key: trialKey(one) }, "dialog")
    : h("p", { class: "note" }, "There is no picture of this trial.");
  openSheet(capital(nameOf(one)),
    [h("span", { class: "badge" }, h("span", { class: `dot ${one.state}` }), STATES[one.state]),
      step(-1, "←", "Previous trial"), step(1, "→", "Next trial")],
    [h("div", {}, shown, h("div", { class: "controls" },
      h("label", { class: "field" }, "Compare with", h("select", { id: "other", onchange: choose },
        beside.map((side) => h("option", { value: side.id, selected: side === before }, side.name)))), pairChoice("dialog"))),
    h("div", {}, trialWords(one), scoreTable([one]), settingTable([one]))],
  () => openTrial(trial, around, other));
  byId("dialog").onkeydown = (event) => {
    const isBrowsers = event.altKey || event.ctrlKey || event.metaKey || event.shiftKey;
    if (isBrowsers || event.target.closest("input, select, .scroll")) return;
    if (event.key === "ArrowLeft") go(-1);
    if (event.key === "ArrowRight") go(1);
  };
}

function trialWords(one) {
  const way = one.rungs.map(([steps, value]) => `${number(value)} after ${steps}`).join(", ");
  const lines = [
    one.rank && `Rank ${one.rank}: ${objective().name} ${number(one.objective)}, ${percent(one.gain)} against the untouched photo.`,
    one.finals?.length && `Run again: ${[...new Set(one.finals)].map((value) => number(value)).join(", ")}.`,
    one.failedFinals && `Of ${one.failedFinals + one.finals.length} runs with other seeds ${one.failedFinals} failed.`,
    way && `On the way: ${way} steps.`,
    one.broken?.length && `Breaks ${one.broken.join(" and ")}.`,
    one.reason && `Ended because: ${one.reason}.`, one.note && `Note: ${one.note}.`,
  ];
  return lines.filter(Boolean).map((line) => h("p", {}, line));
}

function scoreTable(ones) {
  const untouched = facts.baselines.find((baseline) => baseline.name === "content")?.scores || {};
  const head = ["metric", ...ones.map(nameOf), "untouched"];
  const rows = facts.measures.filter(({ name }) => ones.some((one) => one.scores?.[name] !== undefined)).map((measure) => {
    const values = ones.map((one) => one.scores?.[measure.name]);
    const first = winner(values, measure.higherIsBetter);
    return [named(measure),
      ...values.map((value, index) => h("td", { class: ones.length > 1 && index === first ? "best" : null }, number(value))),
      number(untouched[measure.name])];
  });
  return rows.length ? table("Scores", head, rows) : null;
}

const directed = ({ name, higherIsBetter }) => `${name}\u00a0${higherIsBetter ? "↑" : "↓"}`;
const named = (measure) => h("span", { title: measure.meaning }, directed(measure));

/** Which of several values is the best, or -1 where they are equal. */
function winner(values, higher) {
  const known = values.filter((value) => typeof value === "number");
  if (known.length < 2 || new Set(known).size < 2) return -1;
  return values.indexOf((higher ? Math.max : Math.min)(...known));
}

function settingTable(ones) {
  const names = facts.params.filter((name) => ones.some((one) => one.params[name] !== undefined));
  const differ = (name) => new Set(ones.map((one) => JSON.stringify(one.params[name]))).size > 1;
  const rows = names.filter((name) => ones.length === 1 || differ(name))
    .map((name) => [name, ...ones.map((one) => h("td", {}, number(one.params[name])))]);
  const steps = ["steps", ...ones.map((one) => number(one.steps, 6))];
  return table(ones.length > 1 ? "Where their settings differ" : "Settings", ["setting", ...ones.map(nameOf)], [steps, ...rows]);
}

function openPair(first, second) {
  const [a, b] = [trialOf(first), trialOf(second)];
  openSheet(`${nameOf(a)} and ${nameOf(b)}`, [], [
    h("div", {}, compare({ name: nameOf(a), key: trialKey(a) }, { name: nameOf(b), key: trialKey(b) }, "dialog"),
      h("div", { class: "controls" }, pairChoice("dialog")),
      h("div", { class: "lineup" }, inputs().map((side) =>
        h("figure", {}, h("span", { class: "pic" }, h("img", { src: picture(side.key) ?? "data:,", alt: side.name })), h("figcaption", {}, side.name))))),
    h("div", {}, scoreTable([a, b]), settingTable([a, b]))], () => openPair(first, second));
}
