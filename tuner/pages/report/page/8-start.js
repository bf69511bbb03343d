// Start: draws all sections, and updates them while the run is running.

/** Section -> its name in the navigation, its function, and the data that it depends on. */
const SECTIONS = {
  result: ["Result", renderResult, () => [sides(), pageData.notes, pageData.second, pageData.headline, pageData.settings, pageData.sizes, pageData.pairs]],
  control: ["Steer", renderControl, () => [pageData.control]],
  trials: ["Trials", () => { renderGallery(); renderPicked(); }, () => [pageData.trials, pageData.counts]],
  table: ["Table", renderTrialTable, () => [pageData.trials, pageData.counts]],
  search: ["Search", renderSearch, () => [pageData.trials, pageData.baselines, pageData.best, pageData.preset]],
  settings: ["Parameters", renderSettings, hasSettings],
  scores: ["Scores", renderScores, () => [sides(), pageData.baselines, pageData.pairs]],
  frames: ["Steps", renderFrames, () => pageData.frames],
  reproduce: ["Reproduce", renderReproduce, () => pageData.reproduce],
};
const RUN_STATES = { finished: "finished", running: "running", stopped: "not finished" };

function renderTop({ counts, state, target, over, best, control }) {
  const done = counts.complete + counts.pruned + counts.failed;
  const word = control.paused && state === "running" ? "paused" : RUN_STATES[state];
  const progress = state === "finished" ? word : `${word}, ${done} of ${target} trials`;
  setBadge(best === pageData.best ? progress : `${progress}, new best trial`);
  byId("state").className = `badge ${state}`;
  byId("state").title = over || "";
}

/** Set the text of the badge; screen readers read it whenever it is written. */
function setBadge(text) {
  if (byId("state").textContent !== text) byId("state").textContent = text;
}

function renderNav() {
  fill("nav", Object.entries(SECTIONS).filter(([id]) => byId(id).childElementCount)
    .map(([id, [name]]) => h("a", { id: `to-${id}`, href: `#${id}` }, name)));
}

const drawnData = {}; // section -> the data that it shows, as JSON

/** Draw the sections whose data have changed; all others stay as they are. */
function render() {
  const { ratio, size } = pageData.pairs[pair];
  document.documentElement.style.setProperty("--ratio", String(ratio));
  document.documentElement.style.setProperty("--most-tuned", `${MOST_ENLARGED * size[0]}px`);
  keepState(() => {
    for (const [id, [, drawSection, dataOf]] of Object.entries(SECTIONS)) {
      const data = JSON.stringify([pair, dataOf()]);
      if (drawnData[id] === data) continue;
      drawnData[id] = data;
      drawSection();
    }
    renderNav();
  });
}

// --- while the run is running ---------------------------------------------------------------------

let dragging = false; // whether a slider or a plot is being dragged
addEventListener("pointerdown", (event) => { dragging = Boolean(event.target.closest(".compare, .canvas")); }, true);
for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => { dragging = false; }, true);

/** Return whether the person is doing something that a new drawing would interrupt. */
const isBusy = () => dragging || document.activeElement?.matches("input[type=number]")
  || (CSS.supports("selector(select:open)") && document.querySelector("select:open"));

async function request(path) {
  const answer = await fetch(path, { cache: "no-store" })
    .catch(() => { throw new Error("the server does not answer"); });
  if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
  return answer.json();
}

const FINISHED_FACTOR = 6; // a finished run may be resumed, so its page still asks, but less often

const scheduleUpdate = () => setTimeout(update, 1000 * live * (pageData.state === "finished" ? FINISHED_FACTOR : 1));

async function update() {
  await refresh();
  scheduleUpdate();
}

/** Request new data and show them. */
async function refresh() {
  const newData = await request("page_data.json").catch((error) => {
    if (pageData.state !== "finished") setBadge(`not updated: ${error.message}`);
  });
  if (newData) {
    renderTop(newData);
    if (newData.version !== pageData.version && !isBusy()) {
      pageData = newData;
      render();
    }
    requestFigures();
  }
}

applyTheme();
renderTop(pageData);
render();
document.documentElement.dataset.ready = "yes";
if (live) new IntersectionObserver(requestFigures).observe(byId("settings"));
if (live) scheduleUpdate();
