// Dialog: one trial large, or two trials side by side.

let dialogTrials = []; // trials that the arrow keys go through
let reopen = null; // shows the same dialog again with new data
let openedFrom = null; // id of the control that opened the dialog

function openDialog(title, buttons, columns, again) {
  const dialog = byId("dialog");
  const show = () => fill("sheet",
    h("div", { class: "sheet-top" }, h("h2", { id: "dialog-title" }, title), buttons,
      h("button", { id: "close", type: "button", onclick: () => dialog.close(), "aria-label": "Close" }, "✕")),
    h("div", { class: "sheet-cols" }, columns));
  const titleBefore = byId("dialog-title")?.textContent;
  reopen = again;
  dialog.onkeydown = null;
  if (dialog.open) {
    keepState(show);
    if (!dialog.contains(document.activeElement)) byId("close").focus(); // else keys do not reach it
    if (title !== titleBefore) announce(title);
    return;
  }
  openedFrom = document.activeElement?.id;
  show();
  dialog.showModal();
  dialog.scrollTop = 0;
}

// The browser returns focus to the old element, which may have been drawn again meanwhile.
byId("dialog").addEventListener("close", () => {
  if (openedFrom) byId(openedFrom)?.focus({ preventScroll: true });
});

function openTrial(trialNumber, trials = dialogTrials, comparedId = "reference") {
  dialogTrials = trials.filter(({ rank, reason }) => rank || reason);
  const trial = trialOf(trialNumber);
  const at = dialogTrials.findIndex((candidate) => candidate.trial === trialNumber);
  const go = (by) => {
    const next = dialogTrials[at + by];
    if (!next) return;
    openTrial(next.trial, dialogTrials, comparedId);
    byId("dialog").scrollTop = 0;
  };
  const step = (by, sign, name) => h("button", { id: `step${by}`, type: "button", disabled: !dialogTrials[at + by], onclick: () => go(by), "aria-label": name }, sign);
  const others = sides().filter((side) => side.trial?.trial !== trialNumber);
  const before = others.find(({ id }) => id === comparedId) || others[0];
  const choose = (event) => openTrial(trialNumber, dialogTrials, event.target.value);
  const comparison = trial.rank
    ? compare(before, { name: nameOf(trial), key: trialKey(trial) }, "dialog")
    : h("p", { class: "note" }, "This trial has no picture.");
  openDialog(capital(nameOf(trial)),
    [h("span", { class: "badge" }, h("span", { class: `dot ${trial.state}` }), STATES[trial.state]),
      ...trialControls(trial), step(-1, "←", "Previous trial"), step(1, "→", "Next trial")],
    [h("div", {}, comparison, h("div", { class: "controls" },
      h("label", { class: "field" }, "Compare with", h("select", { id: "other", onchange: choose },
        others.map((side) => h("option", { value: side.id, selected: side === before }, side.name)))), pairChoice("dialog"))),
    h("div", {}, trialText(trial), scoreTable([trial]), parameterTable([trial]))],
  () => openTrial(trialNumber, dialogTrials, comparedId));
  byId("dialog").onkeydown = (event) => {
    const isForBrowser = event.altKey || event.ctrlKey || event.metaKey || event.shiftKey;
    if (isForBrowser || event.target.closest("input, select, .scroll")) return;
    if (event.key === "ArrowLeft") go(-1);
    if (event.key === "ArrowRight") go(1);
  };
}

function trialText(trial) {
  const { finals, failedFinals, violated, reason, note } = trial;
  const reports = trial.rungs.map(([steps, value]) => `${objectiveText(value)} after ${steps}`).join(", ");
  const gain = missing(trial.gain) ? "" : `, ${percent(trial.gain)} compared with the untouched photo`;
  const lines = [
    trial.rank && `Rank ${trial.rank}: ${objective().label} ${objectiveText(trial.objective)}${gain}.`,
    finals?.length && `Finals: ${[...new Set(finals)].map(objectiveText).join(", ")}.`,
    failedFinals && `${failedFinals} of ${failedFinals + finals.length} finals failed.`,
    reports && `Reports: ${reports} steps.`,
    violated?.length && `Violates ${violated.join(" and ")}.`,
    reason && `Reason for the end: ${reason}.`, note && `Note: ${note}.`,
  ];
  return lines.filter(Boolean).map((line) => h("p", {}, line));
}

function scoreTable(trials) {
  const untouched = pageData.baselines.find(({ name }) => name === "content")?.scores || {};
  const head = ["metric", ...trials.map(nameOf), "untouched photo"];
  const rows = pageData.measures.filter(({ name }) => trials.some(({ scores }) => scores?.[name] !== undefined)).map((measure) => {
    const values = trials.map(({ scores }) => scores?.[measure.name]);
    const best = bestIndex(values, measure.higherIsBetter);
    return [named(measure),
      ...values.map((value, index) => h("td", { class: trials.length > 1 && index === best ? "best" : null }, scoreText(value, measure))),
      scoreText(untouched[measure.name], measure)];
  });
  return rows.length ? table("Scores", head, rows) : null;
}

const directed = ({ label, higherIsBetter }) => `${label}\u00a0${higherIsBetter ? "↑" : "↓"}`;
const named = (measure) => h("span", { title: measure.meaning }, directed(measure));

/** Return the index of the best value, or -1 if all are equal. */
function bestIndex(values, higher) {
  const numbers = values.filter((value) => typeof value === "number");
  if (numbers.length < 2 || new Set(numbers).size < 2) return -1;
  return values.indexOf((higher ? Math.max : Math.min)(...numbers));
}

function parameterTable(trials) {
  const names = pageData.params.filter((name) => trials.some(({ params }) => params[name] !== undefined));
  const differ = (name) => new Set(trials.map(({ params }) => JSON.stringify(params[name]))).size > 1;
  const rows = names.filter((name) => trials.length === 1 || differ(name))
    .map((name) => [name, ...trials.map(({ params }) => h("td", {}, number(params[name])))]);
  const steps = ["steps", ...trials.map((trial) => number(trial.steps, 6))];
  return table(trials.length > 1 ? "Different parameters" : "Parameters", ["parameter", ...trials.map(nameOf)], [steps, ...rows]);
}

function openTwo(first, second) {
  const [a, b] = [trialOf(first), trialOf(second)];
  openDialog(`${nameOf(a)} and ${nameOf(b)}`, [], [
    h("div", {}, compare({ name: nameOf(a), key: trialKey(a) }, { name: nameOf(b), key: trialKey(b) }, "dialog"),
      h("div", { class: "controls" }, pairChoice("dialog")),
      h("div", { class: "lineup" }, inputs().map((side) =>
        h("figure", {}, h("span", { class: "pic" }, h("img", { src: picture(side.key) ?? "data:,", alt: side.name })), h("figcaption", {}, side.name))))),
    h("div", {}, scoreTable([a, b]), parameterTable([a, b]))], () => openTwo(first, second));
}
