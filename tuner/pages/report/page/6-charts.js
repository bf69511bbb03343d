// Plots, each drawn when it comes into view. Plotly is unpacked for the first of them.

let plotly = null;

async function loadPlotly() {
  if (window.Plotly) return;
  const packed = Uint8Array.from(atob(byId("plotly").textContent.trim()), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = h("script", { nonce });
  script.textContent = await new Response(stream).text();
  document.head.append(script);
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

function themed({ data, layout = {} }) {
  const named = data.filter((trace) => trace.name && trace.showlegend !== false).length > 1;
  const axis = { gridcolor: colour("line"), zerolinecolor: colour("line"), linecolor: colour("line"), automargin: true };
  const base = {
    font: { family: getComputedStyle(document.body).fontFamily, color: colour("ink"), size: 13 },
    margin: { l: 60, r: 20, t: named ? 64 : 36, b: 50 }, hoverlabel: { font: { family: "inherit" } },
    colorway: [colour("accent"), colour("warn"), colour("busy"), colour("bad"), colour("good")],
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 }, // below the tools
    modebar: { bgcolor: "transparent", color: colour("muted"), activecolor: colour("ink") },
    uirevision: "kept", // so that what was zoomed stays so when the data change
    ...layout, title: undefined, template: undefined,
    paper_bgcolor: "transparent", plot_bgcolor: "transparent",
    annotations: layout.annotations?.map((note) => ({ ...note, font: { ...note.font, color: colour("muted") } })),
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

const drawn = new Map(); // canvas -> what draws it

async function draw(canvas) {
  plotly ??= loadPlotly();
  await plotly;
  if (!drawn.has(canvas)) return; // let go of meanwhile
  const figure = drawn.get(canvas)();
  const isNew = !canvas.classList.contains("js-plotly-plot");
  await Plotly.react(canvas, figure.data, themed(figure), { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d"] });
  for (const svg of canvas.querySelectorAll("svg.main-svg")) svg.setAttribute("aria-hidden", "true"); // numbers of axes
  if (isNew && figure.trials) canvas.on("plotly_click", ({ points: [point] }) => {
    const trial = point.customdata;
    if (trial !== undefined && trial !== null) openTrial(trial, facts.trials.filter((one) => one.rank).sort((a, b) => a.rank - b.rank));
  });
}

/** Draw anew what has been drawn, by the facts as they are now. */
const redraw = (within = document) => within.querySelectorAll(".js-plotly-plot").forEach((canvas) => draw(canvas));

/** Before a canvas goes: Plotly and the observer would keep it for ever. */
function forget(canvas) {
  waiting.unobserve(canvas);
  drawn.delete(canvas);
  if (canvas.classList.contains("js-plotly-plot")) Plotly.purge(canvas);
}

/** Where a plot will be. It has the plot's height before, so that nothing moves when it is drawn. */
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

function lines() {
  const untouched = facts.baselines.find((one) => one.name === "content")?.objective;
  const preset = trialOf(facts.preset);
  const found = [];
  if (!missing(untouched)) found.push(["untouched photo", untouched]);
  if (preset) found.push([`best preset, ${facts.presetRan}`, preset.objective]);
  return found;
}

const baseline = ([name, value]) => ({
  shape: { type: "line", xref: "paper", x0: 0, x1: 1, y0: value, y1: value, line: { color: colour("muted"), width: 1, dash: "dot" } },
  annotation: { xref: "paper", x: 1, y: value, text: name, showarrow: false, xanchor: "right", yanchor: "bottom", font: { color: colour("muted"), size: 12 } },
});

function marked(layout) {
  const marks = lines().map(baseline);
  return { ...layout, shapes: [...(layout.shapes || []), ...marks.map((mark) => mark.shape)], annotations: marks.map((mark) => mark.annotation) };
}

const hoverName = (one) => plain(nameOf(one) + (one.broken.length ? `, breaks ${one.broken.join(" and ")}` : ""));

function history() {
  const known = facts.trials.filter((one) => one.rank);
  const data = Object.entries(STATES).map(([state, name]) => {
    const those = known.filter((one) => one.state === state);
    return {
      type: "scatter", mode: "markers", name, x: those.map((one) => one.trial), y: those.map((one) => one.objective),
      customdata: those.map((one) => one.trial), text: those.map(hoverName), hovertemplate: "%{text}<br>%{y:.4g}<extra></extra>",
      marker: { color: colour(TONES[state]), size: 8, symbol: state === "pruned" ? "circle-open" : "circle" },
    };
  }).filter((trace) => trace.x.length);
  let best = null; // of those that keep the bounds
  const soFar = known.map((one) => {
    if (!one.broken.length && (best === null || better(one.objective, best, objective().higherIsBetter))) best = one.objective;
    return best;
  });
  data.push({ type: "scatter", mode: "lines", name: "best so far", x: known.map((one) => one.trial), y: soFar, line: { color: colour("accent"), shape: "hv", width: 2 }, hoverinfo: "skip" });
  return { data, trials: true, layout: marked({ xaxis: { title: { text: "trial" } }, yaxis: { title: axisTitle(objective()) }, hovermode: "closest" }) };
}

function courses() {
  const known = facts.trials.filter((one) => one.rungs.length);
  const ladder = [...new Set(known.filter((one) => !one.preset).flatMap((one) => one.rungs.map(([steps]) => steps)))];
  const path = (those) => ({
    x: those.flatMap((one) => [...one.rungs.map(([steps]) => steps), null]),
    y: those.flatMap((one) => [...one.rungs.map(([, value]) => value), null]),
    customdata: those.flatMap((one) => [...one.rungs.map(() => one.trial), null]),
  });
  const data = Object.entries(STATES).map(([state, name]) => ({
    type: "scatter", mode: "lines+markers", name, ...path(known.filter((one) => one.state === state && one.trial !== facts.best)),
    line: { color: colour(TONES[state]), width: 1 }, marker: { size: 5, symbol: state === "pruned" ? "x-thin-open" : "circle" }, opacity: 0.55,
    hovertemplate: "trial %{customdata}<br>%{x} steps: %{y:.4g}<extra></extra>",
  })).filter((trace) => trace.x.length);
  const best = known.filter((one) => one.trial === facts.best);
  data.push({ type: "scatter", mode: "lines+markers", name: "the best", ...path(best), line: { color: colour("accent"), width: 4 }, marker: { size: 8 } });
  const few = ladder.length <= 8; // then they are what the axis names
  const ticks = few ? { tickvals: ladder, ticktext: ladder.map(String) } : {};
  const shapes = !few ? [] : ladder.map((steps) => ({ type: "line", yref: "paper", y0: 0, y1: 1, x0: steps, x1: steps, line: { color: colour("line"), width: 1 } }));
  return { data, trials: true, layout: marked({ shapes, xaxis: { title: { text: "steps" }, type: "log", ...ticks }, yaxis: { title: axisTitle(objective()) }, hovermode: "closest" }) };
}

const FRONT_PICTURES = 40, FRONT_PX = 560;

/** The results of the trade-off, the best by the first objective first; a trial may be there often. */
const onFront = () => facts.front.map((one) => ({ ...trialOf(one.trial), broken: [], ...one }));

function front() {
  const known = facts.trials.filter((one) => one.rank);
  const on = onFront();
  const off = known.filter((one) => !one.front && !one.broken.length);
  const over = known.filter((one) => !one.front && one.broken.length);
  const [gx, gy] = facts.objectives;
  const points = (those, extra) => ({
    type: "scatter", mode: "markers", x: those.map((one) => one.values[0]), y: those.map((one) => one.values[1]),
    customdata: those.map((one) => one.trial), text: those.map(hoverName),
    hovertemplate: `%{text}<br>${plain(gx.name)} %{x:.4g}<br>${plain(gy.name)} %{y:.4g}<extra></extra>`, ...extra,
  });
  const range = (index) => {
    const values = on.map((one) => one.values[index]);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const margin = (high - low || Math.abs(high) || 1) * 0.25;
    return [low - margin, high + margin];
  };
  const [rx, ry] = [range(0), range(1)];
  const size = Math.min(0.16, 0.9 / Math.sqrt(on.length || 1));
  const images = on.slice(0, FRONT_PICTURES).map((one) => ({
    source: picture(`${one.key}${pair}`), xref: "x", yref: "y", x: one.values[0], y: one.values[1],
    sizex: (rx[1] - rx[0]) * size, sizey: (ry[1] - ry[0]) * size, xanchor: "center", yanchor: "middle", layer: "above",
  })).filter((image) => image.source);
  const third = facts.objectives[2];
  return {
    trials: true,
    data: [points(off, { name: "beaten in everything", marker: { color: colour("muted"), size: 7, opacity: 0.7 } }),
      ...(over.length ? [points(over, { name: "breaks a bound", marker: { color: colour("bad"), size: 7, symbol: "x-thin-open" } })] : []),
      points(on, { name: "the trade-off", marker: { size: 12, color: third ? on.map((one) => one.values[2]) : colour("accent"), showscale: Boolean(third), colorbar: third ? { title: axisTitle(third) } : undefined } })],
    layout: { images, xaxis: { title: axisTitle(gx), range: rx }, yaxis: { title: axisTitle(gy), range: ry }, hovermode: "closest", height: FRONT_PX },
  };
}

/** The same as a table, for who sees no plot or uses no mouse. */
function frontTable() {
  const on = onFront();
  const trials = [...new Set(on.map((one) => one.trial))].map(trialOf);
  const open = (one) => h("button", { id: `front-${one.trial}-${one.steps}`, class: "open-row", type: "button", onclick: () => openTrial(one.trial, trials) },
    h("img", { src: picture(`${one.key}${pair}`) ?? "data:,", alt: "", loading: "lazy" }), nameOf(one));
  return table(`The trade-off by ${objective().name}, the best first`,
    ["result", ...facts.objectives.map(directed), "steps"],
    on.map((one) => [open(one), ...one.values.map((value) => number(value)), number(one.steps, 6)]));
}

function frontChart() {
  const panel = chart("What can be had for what", "Each picture is a result that no other beats in every objective. Choose a point, or a row of the table, to open it.", front, FRONT_PX);
  panel.classList.add("wide");
  panel.append(h("div", { id: "front-table" }, frontTable()));
  return panel;
}

/** The name of an objective, a sum on several lines: a phone has no room for one. */
const axisTitle = ({ name }) => ({ text: plain(name).replaceAll(" + ", "<br>+ ") });

/** Plotly reads some tags in text; what comes from a job is only text. */
const plain = (text) => String(text).replaceAll("<", "‹").replaceAll(">", "›");

function renderSearch() {
  if (!facts.trials.some((one) => one.rank)) return fill("search");
  if (byId("search").childElementCount) {
    if (byId("front-table")) fill("front-table", frontTable());
    return redraw(byId("search"));
  }
  const plots = facts.objectives.length > 1 ? [frontChart()] : [];
  const kept = facts.bounds.length ? `, of those that keep ${facts.bounds.join(" and ")}` : "";
  plots.push(chart("Score over trials", `Each point is a trial; the line is the best so far${kept}.`, history));
  plots.push(chart("Score over steps", "Vertical lines are the rungs, at which weak trials were stopped.", courses));
  fill("search", h("h2", { id: "search-title" }, "How the search went"),
    h("p", { class: "lead" }, `${objective().name}: ${objective().higherIsBetter ? "higher" : "lower"} is better.`), h("div", { class: "plots" }, plots));
}

// --- Optuna's figures ----------------------------------------------------------------------------

const FIGURES_EVERY_MS = 60_000; // Optuna takes seconds for those of a long run
let figures = live ? null : block("figures");
let asked = { for: null, atMs: -Infinity };

/** Ask for the figures where there is news, if they are looked at. */
async function askForFigures() {
  const { top, bottom } = byId("settings").getBoundingClientRect();
  const now = performance.now();
  if (bottom <= 0 || top >= innerHeight || asked.for === facts.version) return;
  if (facts.state !== "finished" && now - asked.atMs < FIGURES_EVERY_MS) return;
  asked = { for: facts.version, atMs: now };
  try {
    figures = await ask(`figures.json?${facts.version}`);
  } catch (error) {
    asked.for = null;
    byId("settings-lead").textContent = `Not drawn anew: ${error.message}.`;
    return;
  }
  renderSettings();
}

const hasSettings = () => facts.trials.filter((one) => one.rank && !one.preset).length >= 2;

function renderSettings() {
  if (!hasSettings() || figures?.length === 0) return fill("settings");
  const lead = "Drawn by Optuna from every trial's best report; presets are left out.";
  const section = byId("settings");
  const labels = JSON.stringify(figures?.map((group) => group.figures.map(({ label }) => label)));
  if (figures && section.dataset.labels === labels) {
    byId("settings-lead").textContent = lead;
    section.querySelectorAll(".help").forEach((help, index) => { help.textContent = figures[index].help; });
    return redraw(section);
  }
  section.dataset.labels = labels;
  fill("settings", h("h2", { id: "settings-title" }, "What the settings do"),
    h("p", { class: "lead", id: "settings-lead" }, figures ? lead : "Drawn when they are looked at."),
    (figures ?? []).map((group, place) => h("div", {}, h("h3", {}, group.title), h("p", { class: "note help" }, group.help),
      h("div", { class: `plots ${group.size}` }, group.figures.map(({ label, layout }, index) =>
        h("div", { class: "plot" }, canvasFor(`${group.title}: ${label}`, () => recoloured(structuredClone(figures[place].figures[index])), layout.height)))))));
}

/** Optuna draws from white to navy, and on every ground one of them is hardly seen. */
function recoloured(figure) {
  const ends = [colour("faint"), colour("accent")];
  const scale = ends.map((end, at) => [at, end]);
  const bar = figure.data.find((trace) => trace.marker?.colorscale)?.marker; // that of the lines too
  for (const trace of figure.data) {
    const { line, marker, mode, y } = trace;
    if (mode === "lines") line.color = mixed(ends, bar?.reversescale ? 1 - y[0] : y[0]); // y begins with the score
    if (marker?.colorscale) marker.colorscale = scale;
    if (trace.colorscale) trace.colorscale = scale;
  }
  return figure;
}

function mixed(ends, share) {
  const [from, to] = ends.map((end) => [1, 3, 5].map((at) => parseInt(end.slice(at, at + 2), 16)));
  return `rgb(${from.map((value, at) => Math.round(value + share * (to[at] - value))).join()})`;
}
