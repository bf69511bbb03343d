// Plots: each is drawn when it scrolls into view. Plotly is unpacked for the first one.

let plotly = null;

async function loadPlotly() {
  if (window.Plotly) return;
  const compressed = Uint8Array.from(atob(byId("plotly").textContent.trim()), (letter) => letter.charCodeAt(0));
  const stream = new Blob([compressed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = h("script", { nonce });
  script.textContent = await new Response(stream).text();
  document.head.append(script);
}

/** Return a text without tags: Plotly interprets some of them, and names in a job are only text. */
const plain = (text) => String(text).replaceAll("<", "‹").replaceAll(">", "›");

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

function themed({ data, layout = {} }) {
  const named = data.filter((trace) => trace.name && trace.showlegend !== false).length > 1;
  const axis = { gridcolor: color("line"), zerolinecolor: color("line"), linecolor: color("line"), automargin: true };
  const base = {
    font: { family: getComputedStyle(document.body).fontFamily, color: color("ink"), size: 13 },
    margin: { l: 44, r: 12, t: named ? 40 : 14, b: 40 }, hoverlabel: { font: { family: "inherit" } },
    colorway: [color("accent"), color("warn"), color("busy"), color("bad"), color("good")],
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
    modebar: { bgcolor: "transparent", color: color("muted"), activecolor: color("ink") },
    uirevision: "same", // keeps the zoom when the data change
    selectionrevision: [...picked].join(), selections: [],
    ...layout, title: undefined, template: undefined,
    paper_bgcolor: "transparent", plot_bgcolor: "transparent",
    annotations: layout.annotations?.map((note) => ({ ...note, font: { ...note.font, color: color("muted") } })),
  };
  for (const key of Object.keys({ xaxis: 1, yaxis: 1, ...layout }).filter((name) => /^[xy]axis\d*$/.test(name))) {
    base[key] = { ...axis, ...spaced(layout[key], data.flatMap((trace) => trace[key[0]] ?? [])), ...layout[key] };
  }
  return base;
}

/** Return settings of an axis that keep its labels apart; a logarithmic one has 1, 2 and 5, or only 1. */
function spaced(axis, values) {
  if (axis?.tickvals) return {};
  if (axis?.type !== "log") return { nticks: 6 };
  const positive = values.filter((value) => value > 0);
  const [low, high] = positive.reduce(([least, most], value) => [Math.min(least, value), Math.max(most, value)], [Infinity, 0]);
  const ticks = (steps) => Array.from({ length: 30 }, (_, place) => steps.map((step) => Number(`${step}e${place - 15}`)))
    .flat().filter((value) => low <= value && value <= high);
  const all = [[1, 2, 5], [1, 3], [1]].map(ticks);
  const tickvals = all.find(({ length }) => length <= 6) ?? all.at(-1).filter((_, index) => index % 2 === 0);
  return tickvals.length > 1 ? { tickvals, ticktext: tickvals.map((value) => number(value)), tickangle: 0 } : { nticks: 6 };
}

/** Mark the picked trials in a figure whose points are trials. */
function marked(figure) {
  for (const trace of figure.data) {
    if (!Array.isArray(trace.customdata) || !trace.mode?.includes("markers")) continue;
    if (!picked.size) { delete trace.selectedpoints; continue; }
    trace.selectedpoints = trace.customdata.flatMap((trial, index) => picked.has(trial) ? [index] : []);
    trace.selected = { marker: { color: color("busy"), size: 13, opacity: 1 } };
    trace.unselected = { marker: { opacity: 0.3 } };
  }
  return figure;
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
  const figure = marked(drawn.get(canvas)());
  const hasTrials = figure.data.some(({ customdata, mode }) => customdata && mode?.includes("markers"));
  const isNew = !canvas.classList.contains("js-plotly-plot");
  await Plotly.react(canvas, figure.data, themed(figure), { displaylogo: false, responsive: true, modeBarButtonsToRemove: hasTrials ? [] : ["select2d", "lasso2d"] });
  for (const svg of canvas.querySelectorAll("svg.main-svg")) svg.setAttribute("aria-hidden", "true"); // a screen reader would read the numbers of the axes
  if (isNew && hasTrials) canvas.on("plotly_selected", (event) => { if (event?.points.length) pickOnly(event.points.map(({ customdata }) => customdata)); });
  if (isNew && hasTrials) canvas.on("plotly_click", ({ points: [point] }) => {
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
