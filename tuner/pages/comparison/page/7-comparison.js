// Comparison: several runs side by side, with their best pictures, curves and differing settings.

const picked = new Set(); // no trials can be picked on this page
const openTrial = () => {};
const MOST_ENLARGED = 2; // a picture is shown at most this many times as large as it is

pictures = block("pictures");

function renderRuns() {
  fill("runs", pageData.runs.map((run, index) => {
    const { name, link, headline, second } = run;
    const share = headline.share === null ? null
      : h("span", { class: `share ${headline.tone === "bad" ? "worse" : "better"}` }, `${Math.round(100 * headline.share)}%`);
    return h("article", { class: "run" },
      h("h2", {}, link ? h("a", { href: link }, name) : name, share, h("span", { class: `badge ${run.state}` }, run.state)),
      h("p", {}, share ? `${Math.round(100 * headline.share)}% ${headline.text}.` : `${capital(headline.text)}.`), second ? h("p", { class: "note" }, second) : null,
      h("div", { class: "lineup", style: `--count: ${Math.max(4, run.pictures.length)}`, tabindex: "0", role: "group", "aria-label": `Pictures of ${name}` },
        run.pictures.map((shown) => runPicture(shown, index))));
  }));
}

function runPicture({ key, name, size }) {
  return h("figure", { style: size && `--most: ${MOST_ENLARGED * size[0]}px` },
    h("div", { class: "pic" }, h("img", { src: pictures[key] ?? "data:,", alt: name, loading: "lazy" })),
    h("figcaption", {}, h("b", {}, capital(name === "content" ? "photo" : name)), size ? `${size.join(" × ")} px` : null));
}

/** Return one plot for each objective: scores by different objectives cannot be compared. */
function renderCurves() {
  const labels = [...new Set(pageData.objectives.map(({ label }) => label))];
  const plots = labels.map((label) => h("div", { class: "plot wide" }, h("h3", {}, label),
    canvasFor(`Best ${label} so far, over the steps of the search`, () => curves(label), 380)));
  fill("curves", h("h2", { id: "curves-title" }, "Best score over the work"),
    h("p", { class: "lead" }, "The best score so far over the number of steps that all trials of the search have taken together."),
    h("div", { class: "plots" }, plots));
}

function curves(label) {
  const data = pageData.runs.filter((run, index) => pageData.objectives[index].label === label && run.curve.length).map(({ name, curve }) => ({
    type: "scatter", mode: "lines", name: plain(name), x: curve.map(([steps]) => steps), y: curve.map(([, score]) => score), line: { shape: "hv", width: 2 },
  }));
  return { data, layout: { showlegend: true, xaxis: { title: { text: "steps" } }, yaxis: { title: { text: plain(label) } } } };
}

function renderDifferences() {
  const { differing, runs } = pageData;
  fill("differences", h("h2", { id: "differences-title" }, "What differs"),
    differing.length
      ? table("Settings of the jobs and of the best trials that are not the same in all runs", ["", ...runs.map(({ name }) => name)], differing.map(([name, values]) => [name, ...values]))
      : h("p", { class: "note" }, "The runs have the same settings and found the same ones."));
}

renderRuns();
renderCurves();
renderDifferences();
applyTheme();
document.documentElement.dataset.ready = "yes";
