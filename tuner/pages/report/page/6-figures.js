// Figures: Optuna's plots of the parameters.

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

/** Whether the window is too narrow for a plot with an axis for each parameter. */
const tight = matchMedia("(max-width: 900px)");
tight.addEventListener("change", renderSettings);

const hasSettings = () => rankedTrials().filter(({ preset }) => !preset).length >= 2;

function renderSettings() {
  if (!hasSettings() || figures?.length === 0) return fill("settings");
  const lead = "Plots by Optuna of the best report of each trial, without presets.";
  const section = byId("settings");
  const hasRoom = !tight.matches;
  const labels = JSON.stringify([hasRoom, figures?.map((group) => group.figures.map(({ label }) => label))]);
  if (figures && section.dataset.labels === labels) {
    byId("settings-lead").textContent = lead;
    section.querySelectorAll(".help").forEach((help, index) => { help.textContent = figures[index].help; });
    return redraw(section);
  }
  section.dataset.labels = labels;
  fill("settings", h("h2", { id: "settings-title" }, "Effect of the parameters"),
    h("p", { class: "lead", id: "settings-lead" }, figures ? lead : "These plots are drawn when they scroll into view."),
    (figures ?? []).map((group, place) => h("div", {}, h("h3", {}, group.title), h("p", { class: "note help" }, group.help),
      group.size === "wide" && !hasRoom
        ? h("p", { class: "note" }, "This plot needs a wider window.")
        : h("div", { class: `plots ${group.size}` }, group.figures.map(({ label, layout }, index) =>
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
