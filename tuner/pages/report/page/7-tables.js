// Scores beside the baselines, pair by pair; how the best came to be; how to make it again.

function renderScores() {
  const columns = [];
  const add = (name, scores) => { if (scores) columns.push({ name, scores }); };
  add("the best", trialOf(facts.best)?.scores);
  if (facts.preset !== facts.best) add(`best preset, ${facts.presetRan}`, trialOf(facts.preset)?.scores);
  for (const one of facts.baselines) add(one.name === "content" ? "untouched photo" : one.name, one.scores);
  if (!columns.length) return fill("scores");
  const rows = facts.measures.map((measure) => {
    const values = columns.map(({ scores }) => scores[measure.name]);
    const first = winner(values, measure.higherIsBetter);
    return [named(measure), ...values.map((value, index) => h("td", { class: index === first ? "best" : null }, number(value))),
      h("td", { class: "words note" }, `${measure.unit}; ${measure.meaning}`)];
  });
  fill("scores", h("h2", { id: "scores-title" }, "Scores"),
    h("p", { class: "lead" }, "The best of a row is bold. A metric that prefers the untouched photo, a grey or a blurred picture says little about style."),
    table("Every metric beside the baselines, mean over the pairs", ["metric", ...columns.map(({ name }) => name), ""], rows),
    pairsTable());
}

function pairsTable() {
  const known = facts.pairs.map((one) => ({ ...one, gain: gainOf(one) })).filter((one) => one.best !== null);
  if (known.length < 2) return null;
  known.sort((a, b) => (a.gain ?? Infinity) - (b.gain ?? Infinity));
  const rows = known.map((one) => [one.name, h("td", { class: "words" }, one.heldOut ? "never seen by the search" : "searched on"),
    number(one.best), number(one.untouched), h("td", { class: tone(one.gain) }, percent(one.gain))]);
  return h("div", {}, h("h3", {}, "Pair by pair, the worst first"),
    table(`${objective().name} of the best trial`, ["pair", "", "the best", "untouched photo", "gain"], rows));
}

function gainOf({ best, untouched }) {
  if (best === null || untouched === null || !untouched) return null;
  const change = (best - untouched) / Math.abs(untouched);
  return objective().higherIsBetter ? change : -change;
}

function renderStrip() {
  if (!facts.strip) return fill("strip");
  const { trial, final, frames } = facts.strip;
  byId("strip").style.setProperty("--ratio", String(facts.pairs[0].ratio)); // whose frames they are
  fill("strip", h("h2", { id: "strip-title" }, "How the best picture comes to be"),
    h("p", { class: "lead" }, `Trial ${trial}, run again: its picture and ${objective().name} after ever more steps.`),
    h("div", { class: "frames", tabindex: "0", role: "group", "aria-label": "Pictures after ever more steps" }, frames.map(({ steps, objective: value }) =>
      h("figure", { class: "frame" }, h("span", { class: "pic" }, h("img", { src: picture(`f${final}s${steps}`) ?? "data:,", alt: `after ${steps} steps`, loading: "lazy" })),
        h("figcaption", {}, h("b", {}, `${steps} ${steps === 1 ? "step" : "steps"}`), number(value))))));
}

const COPIED_MS = 3000; // for so long the button says what it did

function commandLine(name, command, index) {
  const code = h("code", { tabindex: "0" }, command);
  const says = h("span", {}, "Copy");
  const copy = async () => {
    says.textContent = await copied(command) ? "Copied" : "Selected";
    if (says.textContent === "Selected") getSelection().selectAllChildren(code);
    tell(`${says.textContent}: ${name}`);
    setTimeout(() => { says.textContent = "Copy"; }, COPIED_MS);
  };
  return h("div", { class: "command" }, code,
    h("button", { id: `copy-${index}`, type: "button", onclick: copy }, says, unseen(` the command: ${name}`)));
}

/** Whether a text is on the clipboard now; some browsers keep pages from it. */
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    return false;
  }
  return true;
}

function renderReproduce() {
  const { commands, environment, seed, workers, hardware, config, job } = facts.reproduce;
  const facts_ = [["run", facts.run], ["seed", String(seed)], ["started", environment.started], ["Python", environment.python], ["platform", environment.platform],
    ...Object.entries(environment.packages || {}), ["hardware", hardware.join("; ")], ["machines", workers.join(", ")]].filter(([, value]) => value);
  fill("reproduce", h("h2", { id: "reproduce-title" }, "Make it again"),
    h("div", { class: "two" },
      h("div", {}, commands.map(([name, command], index) => h("div", {}, h("h3", {}, name), commandLine(name, command, index)))),
      h("div", {}, table("What it ran with", ["", ""], facts_.map(([name, value]) => [name, h("td", { class: "words" }, value)])))),
    h("details", { id: "whole-config" }, h("summary", {}, "The best configuration, whole"), h("pre", { tabindex: "0" }, JSON.stringify(config, null, 1))),
    h("details", { id: "whole-job" }, h("summary", {}, "The job file"), h("pre", { tabindex: "0" }, job)));
}
