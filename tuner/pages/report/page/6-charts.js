// Charts: each is drawn when it scrolls into view. Plotly is unpacked for the first one.

let plotly = null;

async function loadPlotly() {
  if (window.Plotly) return;
  const compressed = Uint8Array.from(atob(byId("plotly").textContent.trim()), (letter) => letter.charCodeAt(0));
  const stream = new Blob([compressed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = h("script", { nonce });
  script.textContent = await new Response(stream).text();
  document.head.append(script);
}

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

function themed({ data, layout = {} }) {
  const named = data.filter((trace) => trace.name && trace.showlegend !== false).length > 1;
  const axis = { gridcolor: color("line"), zerolinecolor: color("line"), linecolor: color("line"), automargin: true };
  const base = {
    font: { family: getComputedStyle(document.body).fontFamily, color: color("ink"), size: 13 },
    margin: { l: 60, r: 20, t: named ? 64 : 36, b: 50 }, hoverlabel: { font: { family: "inherit" } },
    colorway: [color("accent"), color("warn"), color("busy"), color("bad"), color("good")],
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 }, // below the toolbar
    modebar: { bgcolor: "transparent", color: color("muted"), activecolor: color("ink") },
    uirevision: "same", // keeps the zoom when the data change
    ...layout, title: undefined, template: undefined,
    paper_bgcolor: "transparent", plot_bgcolor: "transparent",
    annotations: layout.annotations?.map((note) => ({ ...note, font: { ...note.font, color: color("muted") } })),
  };
  for (const key of Object.keys({ xaxis: 1, yaxis: 1, ...layout }).filter((name) => /^[xy]axis\d*$/.test(name))) {
    base[key] = { ...axis, ...layout[key] };
  }
  return base;
}

const waiting = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) { waiting.unobserve(target); draw(target); }
  }
}, { rootMargin: "300px" });

const drawn = new Map(); // canvas -> function that makes its figure

async function draw(canvas) {
  plotly ??= loadPlotly();
  await plotly;
  if (!drawn.has(canvas)) return; // removed in the meantime
  const figure = drawn.get(canvas)();
  const isNew = !canvas.classList.contains("js-plotly-plot");
  await Plotly.react(canvas, figure.data, themed(figure), { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d"] });
  for (const svg of canvas.querySelectorAll("svg.main-svg")) svg.setAttribute("aria-hidden", "true"); // a screen reader would read the numbers of the axes
  if (isNew && figure.trials) canvas.on("plotly_click", ({ points: [point] }) => {
    if (!missing(point.customdata)) openTrial(point.customdata, rankedTrials().sort((a, b) => a.rank - b.rank));
  });
}

/** Draw again the plots that have been drawn, with the current data and colors. */
const redraw = (within = document) => within.querySelectorAll(".js-plotly-plot").forEach((canvas) => draw(canvas));

/** Free a canvas before it is removed; Plotly and the observer would keep it in memory. */
function forget(canvas) {
  waiting.unobserve(canvas);
  drawn.delete(canvas);
  if (canvas.classList.contains("js-plotly-plot")) Plotly.purge(canvas);
}

/** Return the place of a plot. It has the height of the plot, so that nothing moves when it is drawn. */
function canvasFor(label, make, height) {
  const canvas = h("div", { class: "canvas", role: "figure", "aria-label": label, style: height && `min-height: ${height}px` });
  drawn.set(canvas, make);
  waiting.observe(canvas);
  return canvas;
}

const chart = (title, help, make, height) =>
  h("div", { class: "plot" }, h("h3", {}, title), h("p", { class: "note" }, help), canvasFor(`${title}. ${help}`, make, height));

// --- our own figures ---------------------------------------------------------------------------

const TONES = { complete: "good", pruned: "warn", failed: "bad", running: "busy" };

/** Return horizontal lines to compare with, as [name, value]. */
function baselineValues() {
  const untouched = pageData.baselines.find(({ name }) => name === "content")?.objective;
  const preset = trialOf(pageData.preset);
  const values = [];
  if (!missing(untouched)) values.push(["untouched content", untouched]);
  if (preset) values.push([`best preset, ${pageData.presetRan}`, preset.objective]);
  return values;
}

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
  const trials = rankedTrials();
  const data = Object.entries(STATES).map(([state, name]) => {
    const ofState = trials.filter((trial) => trial.state === state);
    return {
      type: "scatter", mode: "markers", name, x: ofState.map(({ trial }) => trial), y: ofState.map((trial) => trial.objective),
      customdata: ofState.map(({ trial }) => trial), text: ofState.map(hoverName), hovertemplate: "%{text}<br>%{y:.4g}<extra></extra>",
      marker: { color: color(TONES[state]), size: 8, symbol: state === "pruned" ? "circle-open" : "circle" },
    };
  }).filter(({ x }) => x.length);
  let best = null; // among trials that satisfy all constraints
  const bestSoFar = trials.map((trial) => {
    const isBetter = best === null || better(trial.objective, best, objective().higherIsBetter);
    if (!trial.violated.length && isBetter) best = trial.objective;
    return best;
  });
  data.push({ type: "scatter", mode: "lines", name: "best so far", x: trials.map(({ trial }) => trial), y: bestSoFar, line: { color: color("accent"), shape: "hv", width: 2 }, hoverinfo: "skip" });
  return { data, trials: true, layout: withBaselines({ xaxis: { title: { text: "trial" } }, yaxis: { title: axisTitle(objective()) }, hovermode: "closest" }) };
}

function learningCurves() {
  const reported = pageData.trials.filter(({ rungs }) => rungs.length);
  const rungSteps = [...new Set(reported.filter(({ preset }) => !preset).flatMap(({ rungs }) => rungs.map(([steps]) => steps)))];
  const path = (trials) => ({ // null separates the curves of trials
    x: trials.flatMap(({ rungs }) => [...rungs.map(([steps]) => steps), null]),
    y: trials.flatMap(({ rungs }) => [...rungs.map(([, value]) => value), null]),
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
  const ticks = areFew ? { tickvals: rungSteps, ticktext: rungSteps.map(String) } : {};
  const shapes = !areFew ? [] : rungSteps.map((steps) => ({ type: "line", yref: "paper", y0: 0, y1: 1, x0: steps, x1: steps, line: { color: color("line"), width: 1 } }));
  return { data, trials: true, layout: withBaselines({ shapes, xaxis: { title: { text: "steps" }, type: "log", ...ticks }, yaxis: { title: axisTitle(objective()) }, hovermode: "closest" }) };
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
    hovertemplate: `%{text}<br>${plain(gx.name)} %{x:.4g}<br>${plain(gy.name)} %{y:.4g}<extra></extra>`, ...extra,
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
  return table(`Pareto front by ${objective().name}, the best first`,
    ["result", ...pageData.objectives.map(directed), "steps"],
    results.map((result) => [open(result), ...result.values.map((value) => number(value)), number(result.steps, 6)]));
}

function frontChart() {
  const panel = chart("Pareto front", "Each picture is a result on the Pareto front: every other result is worse in at least one objective. Choose a point, or a row of the table, to open its trial.", front, FRONT_PX);
  panel.classList.add("wide");
  panel.append(h("div", { id: "front-table" }, frontTable()));
  return panel;
}

/** Return the name of an objective as an axis title. A sum takes several lines, for narrow screens. */
const axisTitle = ({ name }) => ({ text: plain(name).replaceAll(" + ", "<br>+ ") });

/** Return a text without tags: Plotly interprets some of them, and names in a job are only text. */
const plain = (text) => String(text).replaceAll("<", "‹").replaceAll(">", "›");

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
  plots.push(chart("Score over trials", `Each point is a trial; the line is the best score so far${among}.`, history));
  plots.push(chart("Score over steps", "Each curve is a trial. Vertical lines are the rungs, where trials are compared and the weaker ones stop.", learningCurves));
  fill("search", h("h2", { id: "search-title" }, "Progress of the search"),
    h("p", { class: "lead" }, `${objective().name}: ${objective().higherIsBetter ? "higher" : "lower"} is better.`), h("div", { class: "plots" }, plots),
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

// --- Optuna's figures ----------------------------------------------------------------------------

const FIGURES_EVERY_MS = 60_000; // Optuna needs seconds to draw those of a long run
let figures = live ? null : block("figures");
let requested = { version: null, atMs: -Infinity };

/** Request new figures if the data have changed and the figures are in view. */
async function requestFigures() {
  const { top, bottom } = byId("settings").getBoundingClientRect();
  const now = performance.now();
  if (bottom <= 0 || top >= innerHeight || requested.version === pageData.version) return;
  if (pageData.state !== "finished" && now - requested.atMs < FIGURES_EVERY_MS) return;
  requested = { version: pageData.version, atMs: now };
  try {
    figures = await request(`figures.json?${pageData.version}`);
  } catch (error) {
    requested.version = null;
    byId("settings-lead").textContent = `These plots could not be updated: ${error.message}.`;
    return;
  }
  renderSettings();
}

const hasSettings = () => rankedTrials().filter(({ preset }) => !preset).length >= 2;

function renderSettings() {
  if (!hasSettings() || figures?.length === 0) return fill("settings");
  const lead = "Plots by Optuna of the best report of each trial, without presets.";
  const section = byId("settings");
  const labels = JSON.stringify(figures?.map((group) => group.figures.map(({ label }) => label)));
  if (figures && section.dataset.labels === labels) {
    byId("settings-lead").textContent = lead;
    section.querySelectorAll(".help").forEach((help, index) => { help.textContent = figures[index].help; });
    return redraw(section);
  }
  section.dataset.labels = labels;
  fill("settings", h("h2", { id: "settings-title" }, "Effect of the parameters"),
    h("p", { class: "lead", id: "settings-lead" }, figures ? lead : "These plots are drawn when they scroll into view."),
    (figures ?? []).map((group, place) => h("div", {}, h("h3", {}, group.title), h("p", { class: "note help" }, group.help),
      h("div", { class: `plots ${group.size}` }, group.figures.map(({ label, layout }, index) =>
        h("div", { class: "plot" }, canvasFor(`${group.title}: ${label}`, () => recolored(structuredClone(figures[place].figures[index])), layout.height)))))));
}

/** Replace Optuna's colors, white to navy: one of them is hardly visible on any background. */
function recolored(figure) {
  const ends = [color("faint"), color("accent")];
  const scale = ends.map((end, at) => [at, end]);
  const bar = figure.data.find((trace) => trace.marker?.colorscale)?.marker; // its scale colors the lines too
  for (const trace of figure.data) {
    const { line, marker, mode, y } = trace;
    if (mode === "lines") line.color = mixed(ends, bar?.reversescale ? 1 - y[0] : y[0]); // y[0] is the score
    if (marker?.colorscale) marker.colorscale = scale;
    if (trace.colorscale) trace.colorscale = scale;
  }
  return figure;
}

function mixed(ends, share) {
  const [from, to] = ends.map((end) => [1, 3, 5].map((at) => parseInt(end.slice(at, at + 2), 16)));
  return `rgb(${from.map((value, at) => Math.round(value + share * (to[at] - value))).join()})`;
}
