// Gallery: all trials as cards, to sort, to filter, and to pick some of them.

const PAGE = 60, FIRST = 20, FIRST_ON_PHONE = 8; // cards
const narrow = matchMedia("(max-width: 560px)");
const gallery = { sort: "rank", descending: false, states: new Set(), filters: [], count: narrow.matches ? FIRST_ON_PHONE : FIRST };

const STATES = { complete: "complete", pruned: "stopped early", failed: "failed", running: "running" };

/** Return what trials can be sorted and filtered by: id -> name, and function of a trial. */
function columns() {
  const all = {
    rank: ["rank", (trial) => trial.rank],
    trial: ["trial number", (trial) => trial.trial],
    steps: ["steps", (trial) => trial.steps],
    seconds: ["engine seconds", (trial) => trial.seconds],
  };
  pageData.objectives.forEach(({ label }, index) => {
    all[`goal ${index}`] = [label, (trial) => (index ? trial.values?.[index] : trial.objective)];
  });
  const objectives = pageData.objectives.map(({ name }) => name);
  for (const { name, label } of pageData.measures.filter((measure) => !objectives.includes(measure.name))) {
    all[`score ${name}`] = [label, (trial) => trial.scores?.[name]];
  }
  for (const name of pageData.params) all[`param ${name}`] = [name, (trial) => trial.params[name]];
  return all;
}

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
    h("p", { class: "lead" }, "Open a trial to see it large, or pick two to compare them. Picked trials are marked in the table and in the plots as well."),
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
  const choose = (event) => { gallery.sort = event.target.value; renderCards(); renderTable(); };
  const reverse = (event) => {
    gallery.descending = !gallery.descending;
    event.currentTarget.textContent = gallery.descending ? "↓" : "↑";
    event.currentTarget.setAttribute("aria-label", gallery.descending ? "Highest first" : "Lowest first");
    renderCards();
    renderTable();
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
    renderTable();
  };
  return h("span", { class: "group", role: "group", "aria-label": "Show only" },
    Object.entries(STATES).filter(([state]) => pageData.counts[state]).map(([state, name]) =>
      h("button", { id: `state-${state}`, type: "button", "aria-pressed": String(gallery.states.has(state)), onclick: toggle(state) },
        h("span", { class: `dot ${state}` }), `${pageData.counts[state]} ${name}`)));
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

const showFilters = () => keepState(() => { renderFilters(); renderCards(); renderTable(); });

function renderFilters() {
  fill("filters", gallery.filters.map((filter, index) => {
    const swap = (event) => { gallery.filters[index] = newFilter(event.target.value); showFilters(); };
    const set = (key) => (event) => { filter[key] = event.target.value; renderCards(); renderTable(); };
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
  markPicked();
  placePicked();
}

function card(trial, trials) {
  const { rank, state, reason, front, violated, steps } = trial;
  const source = rank ? picture(trialKey(trial)) : null;
  const placeholder = reason || (state === "running" ? "has not reported yet" : "no picture");
  const marks = [front && "on the Pareto front", violated?.length && "violates a constraint"].filter(Boolean);
  const gain = missing(trial.gain) ? null : srOnly(`${percent(trial.gain)} compared with the untouched photo, `);
  return h("li", { class: "card", "data-trial": trial.trial },
    h("button", { id: `open-${trial.trial}`, class: "open", type: "button", onclick: () => openTrial(trial.trial, trials), title: STATES[state] },
      source ? h("img", { src: source, alt: "", loading: "lazy" }) : h("span", { class: "none" }, placeholder),
      h("span", { class: "text" },
        h("span", { class: `dot ${state}` }),
        rank ? h("b", {}, srOnly(`${objective().label} `), objectiveText(trial.objective)) : null, srOnly(" "), gain,
        h("span", { class: "which" }, rank ? `#${rank} · ` : "", nameOf(trial), srOnly(`${steps ? `, ${steps} steps` : ""}, ${STATES[state]}`)))),
    marks.length ? h("span", { class: "marks" }, marks.map((mark) => h("span", { class: "badge" }, mark))) : null,
    rank ? h("label", { class: "pick" }, pickBox(trial, "pick"), "compare", srOnly(` ${nameOf(trial)}`)) : null);
}
