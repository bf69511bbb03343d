// Puts the page together, and keeps it so while a run goes on.

/** Every section: its name, what draws it, and the facts that it is drawn from. */
const SECTIONS = {
  result: ["Result", renderResult, () => [sides(), facts.summary, facts.gain, facts.pairs]],
  trials: ["Trials", () => { renderGallery(); renderPicked(); }, () => [facts.trials, facts.counts]],
  search: ["Search", renderSearch, () => [facts.trials, facts.baselines, facts.best, facts.preset]],
  settings: ["Settings", renderSettings, hasSettings],
  scores: ["Scores", renderScores, () => [sides(), facts.baselines, facts.pairs]],
  strip: ["Steps", renderStrip, () => facts.strip],
  reproduce: ["Again", renderReproduce, () => facts.reproduce],
};
const STATE_WORDS = { finished: "finished", running: "running", stopped: "not finished" };

function renderTop({ counts, state, target, over, best }) {
  const done = counts.complete + counts.pruned + counts.failed;
  const where = state === "finished" ? STATE_WORDS.finished : `${STATE_WORDS[state]}, ${done} of ${target} trials`;
  say(best === facts.best ? where : `${where}, a new best`);
  byId("state").className = `badge ${state}`;
  byId("state").title = over || "";
}

/** What the badge says; it is read aloud whenever it is written. */
function say(words) {
  if (byId("state").textContent !== words) byId("state").textContent = words;
}

function renderNav() {
  fill("nav", Object.entries(SECTIONS).filter(([id]) => byId(id).childElementCount)
    .map(([id, [name]]) => h("a", { id: `to-${id}`, href: `#${id}` }, name)));
}

const shown = {}; // section -> the facts that it shows, as JSON

/** Draw what is not shown yet; the rest of the page stays as it is. */
function render() {
  document.documentElement.style.setProperty("--ratio", String(facts.pairs[pair].ratio));
  keep(() => {
    for (const [id, [, drawSection, uses]] of Object.entries(SECTIONS)) {
      const now = JSON.stringify([pair, uses()]);
      if (shown[id] === now) continue;
      shown[id] = now;
      drawSection();
    }
    renderNav();
  });
}

// --- light and dark -----------------------------------------------------------------------------

const dark = matchMedia("(prefers-color-scheme: dark)");
let theme = null; // what the person chose; else what the system has

function applyTheme() {
  const now = theme ?? (dark.matches ? "dark" : "light");
  document.documentElement.dataset.theme = now;
  byId("theme").textContent = now === "dark" ? "Light" : "Dark";
  byId("theme").setAttribute("aria-label", now === "dark" ? "Light colours" : "Dark colours");
  redraw();
}

byId("theme").addEventListener("click", () => {
  theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  applyTheme();
});
dark.addEventListener("change", applyTheme);

// --- while the run goes on ------------------------------------------------------------------------

let dragging = false; // an edge between pictures, or in a plot
addEventListener("pointerdown", (event) => { dragging = Boolean(event.target.closest(".compare, .canvas")); }, true);
for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => { dragging = false; }, true);

/** Whether a person is in the midst of something that drawing anew would break off. */
const isBusy = () => dragging || document.activeElement?.matches("input[type=number]")
  || (CSS.supports("selector(select:open)") && document.querySelector("select:open"));

async function ask(path) {
  const answer = await fetch(path, { cache: "no-store" })
    .catch(() => { throw new Error("the server has gone"); });
  if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
  return answer.json();
}

const SLOWLY = 6; // times as long between looks when a run is over: it may be resumed

const lookAgain = () => setTimeout(look, 1000 * live * (facts.state === "finished" ? SLOWLY : 1));

async function look() {
  const found = await ask("facts.json").catch((error) => {
    if (facts.state !== "finished") say(`no news: ${error.message}`); // else none is missed
  });
  if (found) {
    renderTop(found);
    if (found.version !== facts.version && !isBusy()) {
      facts = found;
      render();
    }
    askForFigures();
  }
  lookAgain();
}

applyTheme();
renderTop(facts);
render();
document.documentElement.dataset.ready = "yes";
if (live) new IntersectionObserver(askForFigures).observe(byId("settings"));
if (live) lookAgain();
