// Gallery: all trials as cards, to sort, to filter, and to pick two of them to compare.

const PAGE = 60;
const gallery = { sort: "rank", descending: false, states: new Set(), filters: [], count: PAGE };
const picked = [];

const STATES = { complete: "complete", pruned: "stopped early", failed: "failed", running: "running" };

/** Return what trials can be sorted and filtered by: id -> name, and function of a trial. */
function columns() {
  const all = {
    rank: ["rank", (trial) => trial.rank],
    trial: ["trial number", (trial) => trial.trial],
    steps: ["steps", (trial) => trial.steps],
    seconds: ["engine seconds", (trial) => trial.seconds],
  };
  pageData.objectives.forEach(({ name }, index) => {
    all[`goal ${index}`] = [name, (trial) => (index ? trial.values?.[index] : trial.objective)];
  });
  const objectives = pageData.objectives.map(({ name }) => name);
  for (const { name } of pageData.measures.filter((measure) => !objectives.includes(measure.name))) {
    all[`score ${name}`] = [name, (trial) => trial.scores?.[name]];
  }
  for (const name of pageData.params) all[`param ${name}`] = [name, (trial) => trial.params[name]];
  return all;
}

const missing = (value) => value === null || value === undefined;

/** Return the trials that pass all filters, sorted. */
function filteredTrials() {
  const all = columns();
  const valueOf = all[gallery.sort][1];
  const passing = pageData.trials.filter((trial) =>
    (!gallery.states.size || gallery.states.has(trial.state))
    && gallery.filters.every((filter) => passes(all[filter.by][1](trial), filter)));
  const sign = gallery.descending ? -1 : 1;
  return passing.sort((a, b) => {
    const [x, y] = [valueOf(a), valueOf(b)];
    if (missing(x) || missing(y)) return missing(x) - missing(y) || a.trial - b.trial;
    return sign * (typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y)));
  });
}

function passes(value, { low, high, option }) {
  if (missing(value)) return false;
  if (option !== undefined) return option === "" || String(value) === option;
  return (low === "" || value >= Number(low)) && (high === "" || value <= Number(high));
}

function renderGallery() {
  const count = h("span", { class: "note", id: "count", role: "status" });
  fill("trials",
    h("h2", { id: "trials-title" }, "All trials"),
    h("p", { class: "lead" }, "Open a trial to see it large, or pick two trials to compare them."),
    h("div", { class: "controls" }, sortChoice(), stateChoice(), pairChoice("trials"),
      h("button", { id: "add-filter", type: "button", onclick: addFilter }, "Filter by score or parameter"), count),
    h("div", { id: "filters" }),
    h("ul", { class: "cards", id: "cards" }),
    h("button", { class: "more", id: "more", type: "button", onclick: showMore }));
  renderFilters();
  renderCards();
}

/** Show more cards, and focus the first new one, because the button may disappear. */
function showMore() {
  const countBefore = gallery.count;
  gallery.count += PAGE;
  renderCards();
  byId("cards").children[countBefore].querySelector(".open").focus({ preventScroll: true });
}

function sortChoice() {
  const choose = (event) => { gallery.sort = event.target.value; renderCards(); };
  const reverse = (event) => {
    gallery.descending = !gallery.descending;
    event.currentTarget.textContent = gallery.descending ? "↓" : "↑";
    event.currentTarget.setAttribute("aria-label", gallery.descending ? "Highest first" : "Lowest first");
    renderCards();
  };
  return h("span", { class: "group sort" },
    h("label", { class: "field" }, "Sort by",
      h("select", { id: "sort", onchange: choose }, Object.entries(columns()).map(([id, [name]]) =>
        h("option", { value: id, selected: id === gallery.sort }, name)))),
    h("button", { id: "sort-turn", type: "button", onclick: reverse, "aria-label": gallery.descending ? "Highest first" : "Lowest first" }, gallery.descending ? "↓" : "↑"));
}

function stateChoice() {
  const toggle = (state) => (event) => {
    if (!gallery.states.delete(state)) gallery.states.add(state);
    event.currentTarget.setAttribute("aria-pressed", String(gallery.states.has(state)));
    renderCards();
  };
  return h("span", { class: "group", role: "group", "aria-label": "Show only" },
    Object.entries(STATES).filter(([state]) => pageData.counts[state]).map(([state, name]) =>
      h("button", { id: `state-${state}`, type: "button", "aria-pressed": String(gallery.states.has(state)), onclick: toggle(state) },
        `${pageData.counts[state]} ${name}`)));
}

function valuesOf(by) {
  const values = pageData.trials.map(columns()[by][1]).filter((value) => !missing(value));
  return { values, numeric: values.every((value) => typeof value === "number") };
}

const newFilter = (by) => valuesOf(by).numeric ? { by, low: "", high: "" } : { by, option: "" };

function addFilter() {
  gallery.filters.push(newFilter("goal 0"));
  showFilters();
  byId(`filter-${gallery.filters.length - 1}-by`).focus();
}

const showFilters = () => keepState(() => { renderFilters(); renderCards(); });

function renderFilters() {
  fill("filters", gallery.filters.map((filter, index) => {
    const swap = (event) => { gallery.filters[index] = newFilter(event.target.value); showFilters(); };
    const set = (key) => (event) => { filter[key] = event.target.value; renderCards(); };
    const drop = () => { gallery.filters.splice(index, 1); showFilters(); byId("add-filter").focus(); };
    const [name] = columns()[filter.by];
    const options = [...new Set(valuesOf(filter.by).values.map(String))].sort();
    const bound = (key, label) => h("label", { class: "field" }, label, h("input", { id: `filter-${index}-${key}`, type: "number", step: "any", value: filter[key], oninput: set(key) }));
    return h("div", { class: "controls" },
      h("label", { class: "field" }, "Only where", h("select", { id: `filter-${index}-by`, onchange: swap },
        Object.entries(columns()).map(([id, [label]]) => h("option", { value: id, selected: id === filter.by }, label)))),
      filter.option === undefined
        ? [bound("low", "from"), bound("high", "to")]
        : h("label", { class: "field" }, "is", h("select", { id: `filter-${index}-is`, onchange: set("option") },
          h("option", { value: "" }, "anything"), options.map((option) => h("option", { value: option, selected: option === filter.option }, option)))),
      h("button", { id: `filter-${index}-drop`, type: "button", class: "plain", onclick: drop, "aria-label": `Remove the filter by ${name}` }, "Remove"));
  }));
}

function renderCards() {
  const trials = filteredTrials();
  byId("count").textContent = trials.length === pageData.trials.length
    ? `${trials.length} trials` : `${trials.length} of ${pageData.trials.length} trials`;
  fill("cards", trials.slice(0, gallery.count).map((trial) => card(trial, trials)));
  const more = byId("more");
  more.hidden = trials.length <= gallery.count;
  more.textContent = `Show ${Math.min(PAGE, trials.length - gallery.count)} more`;
  placePicked();
}

function card(trial, trials) {
  const { rank, state, reason, front, violated, steps } = trial;
  const source = rank ? picture(trialKey(trial)) : null;
  const placeholder = reason || (state === "running" ? "has not reported yet" : "no picture");
  const marks = [front && "on the Pareto front", violated?.length && "violates a constraint"].filter(Boolean);
  const gain = missing(trial.gain) ? null
    : h("span", { class: `gain-small ${tone(trial.gain)}` }, percent(trial.gain), srOnly(" compared with the untouched content"));
  return h("li", { class: "card" },
    h("button", { id: `open-${trial.trial}`, class: "open", type: "button", onclick: () => openTrial(trial.trial, trials) },
      source ? h("img", { src: source, alt: "", loading: "lazy" }) : h("span", { class: "none" }, placeholder),
      h("span", { class: "text" },
        rank ? h("span", { class: "score" }, h("span", {}, srOnly(`${objective().name} `), number(trial.objective)), gain) : null,
        h("span", { class: "which" }, rank ? `#${rank} · ` : "", nameOf(trial), steps ? ` · ${steps} steps` : ""),
        h("span", { class: "which" }, h("span", { class: `dot ${state}` }), STATES[state]),
        marks.length ? h("span", { class: "marks" }, marks.map((mark) => h("span", { class: "badge" }, mark))) : null)),
    rank ? h("label", { class: "pick" },
      h("input", { id: `pick-${trial.trial}`, type: "checkbox", checked: picked.includes(trial.trial), onchange: () => togglePick(trial.trial) }),
      "compare", srOnly(` ${nameOf(trial)}`)) : null);
}

// --- two trials to compare ---------------------------------------------------------------------------

const bar = byId("picked");

function togglePick(trial) {
  const at = picked.indexOf(trial);
  if (at >= 0) picked.splice(at, 1);
  else picked.push(trial);
  if (picked.length > 2) uncheck(picked.shift());
  renderPicked();
  announce(at >= 0 ? `${nameOf(trialOf(trial))} is no longer picked` : pickedText());
}

function uncheck(trial) {
  const box = byId(`pick-${trial}`);
  if (box) box.checked = false;
}

const pickedNames = () => picked.map((trial) => nameOf(trialOf(trial))).join(" and ");
const pickedText = () => picked.length < 2 ? `${pickedNames()} is picked, pick one more trial` : `${pickedNames()} are picked`;

function clearPicked() {
  const last = byId(`pick-${picked.at(-1)}`) ?? byId("sort"); // gets the focus, as the bar disappears
  picked.splice(0).forEach(uncheck);
  renderPicked();
  last.focus({ preventScroll: true });
  announce("no trial is picked");
}

function renderPicked() {
  bar.hidden = !picked.length;
  bar.replaceChildren(
    ...picked.map((trial) => h("img", { src: picture(trialKey(trialOf(trial))) ?? "data:,", alt: "" })),
    h("span", {}, picked.length < 2 ? "Pick one more trial" : pickedNames()),
    h("button", { id: "compare-picked", class: "main", type: "button", disabled: picked.length < 2, onclick: () => openTwo(...picked) }, "Compare"),
    h("button", { id: "clear-picked", class: "plain", type: "button", onclick: clearPicked }, "Clear"));
  placePicked();
}

/** Put the floating bar into the card that was picked last, so that the Tab key leads to it. */
function placePicked() {
  const place = byId(`pick-${picked.at(-1)}`)?.closest(".card") ?? byId("trials");
  if (bar.parentElement !== place) place.append(bar);
}
