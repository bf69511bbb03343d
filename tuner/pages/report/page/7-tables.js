// Tables: scores beside the baselines, scores on each pair, frames, and how to reproduce the result.

function renderScores() {
  const columns = [];
  const add = (name, scores) => { if (scores) columns.push({ name, scores }); };
  const { preset, best: found } = pageData;
  add("tuned", trialOf(found)?.scores);
  if (preset && preset.trial !== found) add(`${preset.role}, ${preset.ran}`, preset.scores);
  for (const { name, scores } of pageData.baselines) add(name === "content" ? "untouched photo" : name, scores);
  if (!columns.length) return fill("scores");
  const rows = pageData.measures.map((measure) => {
    const values = columns.map(({ scores }) => scores[measure.name]);
    const best = bestIndex(values, measure.higherIsBetter);
    return [named(measure), ...values.map((value, index) => h("td", { class: index === best ? "best" : null }, scoreText(value, measure))),
      h("td", { class: "words note" }, `${measure.unit}; ${measure.meaning}`)];
  });
  fill("scores", h("h2", { id: "scores-title" }, "Scores"),
    h("p", { class: "lead" }, "The best value of each row is bold. A metric by which the untouched photo, a gray or a blurred picture is the best says little about style."),
    table("All metrics of the tuned settings and the baselines, means over the pairs", ["metric", ...columns.map(({ name }) => name), ""], rows),
    pairsTable());
}

function pairsTable() {
  const pairs = pageData.pairs.filter(({ best }) => best !== null);
  if (pairs.length < 2) return null;
  pairs.sort((a, b) => (a.gain ?? Infinity) - (b.gain ?? Infinity));
  const rows = pairs.map(({ name, best, untouched, gain }) =>
    [name, objectiveText(best), objectiveText(untouched), h("td", { class: tone(gain) }, percent(gain))]);
  return h("div", {}, h("h3", {}, "Scores on each pair, the worst first"),
    table(`${objective().label} of the tuned settings. The search never saw the held-out pairs.`, ["pair", "tuned", "untouched photo", "gain"], rows));
}

function renderFrames() {
  if (!pageData.frames) return fill("frames");
  const { trial, final, frames } = pageData.frames;
  byId("frames").style.setProperty("--ratio", String(pageData.pairs[0].ratio)); // frames are of pair 0
  fill("frames", h("h2", { id: "frames-title" }, "The best picture, step by step"),
    h("p", { class: "lead" }, `Picture and ${objective().label} of trial ${trial} at increasing numbers of steps, recorded in one of its finals.`),
    h("div", { class: "frames", role: "group", "aria-label": "Pictures at increasing numbers of steps" }, frames.map(({ steps, objective: value }) =>
      h("figure", { class: "frame" }, h("span", { class: "pic" }, h("img", { src: picture(`f${final}s${steps}`) ?? "data:,", alt: `after ${steps} steps`, loading: "lazy" })),
        h("figcaption", {}, h("b", {}, `${steps} ${steps === 1 ? "step" : "steps"}`), objectiveText(value))))));
}

const COPIED_MS = 3000; // how long the button shows that the command was copied

function commandLine(name, command, index) {
  const code = h("code", { tabindex: "0" }, command);
  const label = h("span", {}, "Copy");
  const copy = async () => {
    label.textContent = await copied(command) ? "Copied" : "Selected";
    if (label.textContent === "Selected") getSelection().selectAllChildren(code);
    announce(`${label.textContent}: ${name}`);
    setTimeout(() => { label.textContent = "Copy"; }, COPIED_MS);
  };
  return h("div", { class: "command" }, code,
    h("button", { id: `copy-${index}`, type: "button", onclick: copy }, label, srOnly(` the command: ${name}`)));
}

/** Copy a text and return whether that worked; some browsers do not let pages use the clipboard. */
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    return false;
  }
  return true;
}

function renderReproduce() {
  const { commands, environment, space, seed, workers, hardware, config, job } = pageData.reproduce;
  const rows = [["run", pageData.run], ["search space", space], ["seed", String(seed)], ["started", environment.started], ["Python", environment.python], ["platform", environment.platform],
    ...Object.entries(environment.packages || {}), ["hardware", hardware.join("; ")], ["machines", workers.join(", ")]].filter(([, value]) => value);
  fill("reproduce", h("h2", { id: "reproduce-title" }, "Reproduce the result"),
    h("div", { class: "two" },
      h("div", {}, commands.map(([name, command], index) => h("div", {}, h("h3", {}, name), commandLine(name, command, index)))),
      h("div", {}, table("Environment of the run", ["", ""], rows.map(([name, value]) => [name, h("td", { class: "words" }, value)])))),
    h("details", { id: "whole-config" }, h("summary", {}, "The best configuration"), h("pre", { tabindex: "0" }, JSON.stringify(config, null, 1))),
    h("details", { id: "whole-job" }, h("summary", {}, "The job file"), h("pre", { tabindex: "0" }, job)));
}
