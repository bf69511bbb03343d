// Charts: our own figures about the progress of the search.

const TONES = { complete: "good", pruned: "warn", failed: "bad", running: "busy" };

/** Return horizontal lines to compare with, as [name, value]. */
function baselineValues() {
  const untouched = pageData.baselines.find(({ name }) => name === "content")?.objective;
  const { preset } = pageData;
  const values = [];
  if (!missing(untouched)) values.push(["untouched photo", untouched]);
  if (preset) values.push([preset.role, preset.objective]);
  return values;
}

/** Return the score of the untouched photo if some trials are worse and some better, else null. */
function worstDrawn() {
  const untouched = pageData.baselines.find(({ name }) => name === "content")?.objective;
  if (missing(untouched)) return null;
  const values = pageData.trials.flatMap(({ rungs }) => rungs.map(([, value]) => value)).filter((value) => !missing(value));
  const { higherIsBetter } = objective();
  const isBetween = values.some((v) => better(v, untouched, higherIsBetter)) && values.some((v) => better(untouched, v, higherIsBetter));
  return isBetween ? untouched : null;
}

/** Return a function that draws what is worse than the untouched photo at its score. */
function clipping() {
  const worst = worstDrawn();
  const limit = objective().higherIsBetter ? Math.max : Math.min;
  return (value) => worst === null || missing(value) ? value : limit(value, worst);
}

const clipNote = () => worstDrawn() === null ? "" : " Scores that are worse than that of the untouched photo are drawn at its line.";

const baselineLine = ([name, value]) => ({
  shape: { type: "line", xref: "paper", x0: 0, x1: 1, y0: value, y1: value, line: { color: color("muted"), width: 1, dash: "dot" } },
  annotation: { xref: "paper", x: 1, y: value, text: name, showarrow: false, xanchor: "right", yanchor: "bottom", font: { color: color("muted"), size: 12 } },
});

function withBaselines(layout) {
  const lines = baselineValues().map(baselineLine);
  return { ...layout, shapes: [...(layout.shapes || []), ...lines.map(({ shape }) => shape)], annotations: lines.map(({ annotation }) => annotation) };
}

const hoverName = (trial) => plain(nameOf(trial) + (trial.violated.length ? `, violates ${trial.violated.join(" and ")}` : ""));

function history() {
  const trials = rankedTrials(), clip = clipping();
  const data = Object.entries(STATES).map(([state, name]) => {
    const ofState = trials.filter((trial) => trial.state === state);
    return {
      type: "scatter", mode: "markers", name, x: ofState.map(({ trial }) => trial), y: ofState.map((trial) => clip(trial.objective)),
      customdata: ofState.map(({ trial }) => trial), text: ofState.map((trial) => `${hoverName(trial)}<br>${objectiveText(trial.objective)}`), hovertemplate: "%{text}<extra></extra>",
      marker: { color: color(TONES[state]), size: 8, symbol: state === "pruned" ? "circle-open" : "circle" },
    };
  }).filter(({ x }) => x.length);
  let best = null; // among trials that satisfy all constraints
  const bestSoFar = trials.map((trial) => {
    const isBetter = best === null || better(trial.objective, best, objective().higherIsBetter);
    if (!trial.violated.length && isBetter) best = trial.objective;
    return best;
  });
  data.push({ type: "scatter", mode: "lines", name: "best so far", x: trials.map(({ trial }) => trial), y: bestSoFar.map(clip), line: { color: color("accent"), shape: "hv", width: 2 }, hoverinfo: "skip" });
  return { data, trials: true, layout: withBaselines({ xaxis: { title: { text: "trial" } }, yaxis: { title: axisTitle(objective()) }, hovermode: "closest" }) };
}

function learningCurves() {
  const reported = pageData.trials.filter(({ rungs }) => rungs.length);
  const rungSteps = [...new Set(reported.filter(({ preset }) => !preset).flatMap(({ rungs }) => rungs.map(([steps]) => steps)))];
  const clip = clipping();
  const path = (trials) => ({ // null separates the curves of trials
    x: trials.flatMap(({ rungs }) => [...rungs.map(([steps]) => steps), null]),
    y: trials.flatMap(({ rungs }) => [...rungs.map(([, value]) => clip(value)), null]),
    customdata: trials.flatMap(({ rungs, trial }) => [...rungs.map(() => trial), null]),
  });
  const data = Object.entries(STATES).map(([state, name]) => ({
    type: "scatter", mode: "lines+markers", name, ...path(reported.filter((trial) => trial.state === state && trial.trial !== pageData.best)),
    line: { color: color(TONES[state]), width: 1 }, marker: { size: 5, symbol: state === "pruned" ? "x-thin-open" : "circle" }, opacity: 0.55,
    hovertemplate: "trial %{customdata}<br>%{x} steps: %{y:.4g}<extra></extra>",
  })).filter(({ x }) => x.length);
  const best = reported.filter(({ trial }) => trial === pageData.best);
  data.push({ type: "scatter", mode: "lines+markers", name: "best trial", ...path(best), line: { color: color("accent"), width: 4 }, marker: { size: 8 } });
  const areFew = rungSteps.length <= 8; // only then the axis has room for all of them
  const shownSteps = apart(rungSteps);
  const ticks = areFew ? { tickvals: shownSteps, ticktext: shownSteps.map(String) } : {};
  const shapes = !areFew ? [] : rungSteps.map((steps) => ({ type: "line", yref: "paper", y0: 0, y1: 1, x0: steps, x1: steps, line: { color: color("line"), width: 1 } }));
  return { data, trials: true, layout: withBaselines({ shapes, xaxis: { title: { text: "steps" }, type: "log", ...ticks }, yaxis: { title: axisTitle(objective()) }, hovermode: "closest" }) };
}

/** Return the steps whose labels do not collide on a logarithmic axis. */
function apart(steps) {
  const sorted = [...steps].sort((a, b) => a - b);
  const least = 0.09 * Math.log(sorted.at(-1) / sorted[0]); // of the width of the axis
  const kept = [];
  for (const step of sorted) if (!kept.length || Math.log(step / kept.at(-1)) > least) kept.push(step);
  return kept;
}

const FRONT_PICTURES = 40, FRONT_PX = 560;

/** Return the results on the Pareto front, the best by the first objective first; trials may repeat. */
const frontResults = () => pageData.front.map((result) => ({ ...trialOf(result.trial), violated: [], ...result }));

function front() {
  const trials = rankedTrials();
  const results = frontResults();
  const dominated = trials.filter((trial) => !trial.front && !trial.violated.length);
  const violating = trials.filter((trial) => !trial.front && trial.violated.length);
  const [gx, gy] = pageData.objectives;
  const points = (those, extra) => ({
    type: "scatter", mode: "markers", x: those.map(({ values }) => values[0]), y: those.map(({ values }) => values[1]),
    customdata: those.map(({ trial }) => trial), text: those.map(hoverName),
    hovertemplate: `%{text}<br>${plain(gx.label)} %{x:.4g}<br>${plain(gy.label)} %{y:.4g}<extra></extra>`, ...extra,
  });
  const range = (index) => {
    const values = results.map((result) => result.values[index]);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const margin = (high - low || Math.abs(high) || 1) * 0.25;
    return [low - margin, high + margin];
  };
  const [rx, ry] = [range(0), range(1)];
  const size = Math.min(0.16, 0.9 / Math.sqrt(results.length || 1));
  const images = results.slice(0, FRONT_PICTURES).map(({ key, values }) => ({
    source: picture(`${key}${pair}`), xref: "x", yref: "y", x: values[0], y: values[1],
    sizex: (rx[1] - rx[0]) * size, sizey: (ry[1] - ry[0]) * size, xanchor: "center", yanchor: "middle", layer: "above",
  })).filter(({ source }) => source);
  const third = pageData.objectives[2];
  return {
    trials: true,
    data: [points(dominated, { name: "dominated", marker: { color: color("muted"), size: 7, opacity: 0.7 } }),
      ...(violating.length ? [points(violating, { name: "violates a constraint", marker: { color: color("bad"), size: 7, symbol: "x-thin-open" } })] : []),
      points(results, { name: "Pareto front", marker: { size: 12, color: third ? results.map(({ values }) => values[2]) : color("accent"), showscale: Boolean(third), colorbar: third ? { title: axisTitle(third) } : undefined } })],
    layout: { images, xaxis: { title: axisTitle(gx), range: rx }, yaxis: { title: axisTitle(gy), range: ry }, hovermode: "closest", height: FRONT_PX },
  };
}

/** Return the Pareto front as a table, for people who see no plot or use no mouse. */
function frontTable() {
  const results = frontResults();
  const trials = [...new Set(results.map(({ trial }) => trial))].map(trialOf);
  const open = (result) => h("button", { id: `front-${result.trial}-${result.steps}`, class: "open-row", type: "button", onclick: () => openTrial(result.trial, trials) },
    h("img", { src: picture(`${result.key}${pair}`) ?? "data:,", alt: "", loading: "lazy" }), nameOf(result));
  return table(`Pareto front by ${objective().label}, the best first`,
    ["result", ...pageData.objectives.map(directed), "steps"],
    results.map((result) => [open(result), ...result.values.map((value, index) => scoreText(value, pageData.objectives[index])), number(result.steps, 6)]));
}

function frontChart() {
  const panel = chart("Pareto front", "Each picture is a result on the Pareto front: every other result is worse in at least one objective. Choose a point, or a row of the table, to open its trial.", front, FRONT_PX);
  panel.classList.add("wide");
  panel.append(h("div", { id: "front-table" }, frontTable()));
  return panel;
}

/** Return the name of an objective as an axis title. A sum takes several lines, for narrow screens. */
const axisTitle = ({ label }) => ({ text: plain(label).replaceAll(" + ", "<br>+ ") });

function renderSearch() {
  if (!rankedTrials().length) return fill("search");
  if (byId("search").childElementCount) {
    if (byId("front-table")) fill("front-table", frontTable());
    fill("rungs", rungTable());
    return redraw(byId("search"));
  }
  const plots = pageData.objectives.length > 1 ? [frontChart()] : [];
  const { constraints } = pageData;
  const among = constraints.length ? ` among trials that satisfy ${constraints.join(" and ")}` : "";
  plots.push(chart("Score over trials", `Each point is a trial; the line is the best score so far${among}.${clipNote()}`, history));
  plots.push(chart("Score over steps", `Each curve is a trial. Vertical lines are the rungs, where trials are compared and the weaker ones stop.${clipNote()}`, learningCurves));
  fill("search", h("h2", { id: "search-title" }, "Progress of the search"),
    h("p", { class: "lead" }, `${objective().label}: ${objective().higherIsBetter ? "higher" : "lower"} is better.`), h("div", { class: "plots" }, plots),
    h("div", { id: "rungs" }, rungTable()));
}

/** Return how each rung ranks trials compared with a later one, or null while too few have reached one. */
function rungTable() {
  const rungs = pageData.rungCorrelations;
  if (!rungs.length) return null;
  const rows = rungs.map(({ steps, later, correlation, trials, reported, poor }) =>
    [`${steps} steps`, `${later} steps`, h("td", { class: poor ? "worse" : null }, `${correlation.toFixed(2)}${poor ? ", poor" : ""}`), `${trials} of ${reported}`]);
  return [h("h3", {}, "How early rungs rank"),
    table("Spearman's rank correlation between the values at two rungs, over the trials that reached both. Trials that were stopped are missing at the later rung, which tends to lower it.",
      ["rung", "compared with", "rank correlation", "trials"], rows)];
}
