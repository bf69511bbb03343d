// Every trial as a picture: sorted, filtered, two of them picked to compare.

const PAGE = 60;
const gallery = { sort: "rank", down: false, states: new Set(), filters: [], shown: PAGE };
const picked = [];

const STATES = { complete: "complete", pruned: "stopped early", failed: "failed", running: "running" };

/** What trials can be sorted and filtered by: id -> its name, and its value of a trial. */
function sortings() {
  const found = {
    rank: ["rank", (one) => one.rank],
    trial: ["trial number", (one) => one.trial],
    steps: ["steps", (one) => one.steps],
    seconds: ["engine seconds", (one) => one.seconds],
  };
  facts.objectives.forEach((goal, index) => {
    found[`goal ${index}`] = [goal.name, (one) => (index ? one.values?.[index] : one.objective)];
  });
  const goals = facts.objectives.map(({ name }) => name);
  for (const { name } of facts.measures.filter((measure) => !goals.includes(measure.name))) {
    found[`score ${name}`] = [name, (one) => one.scores?.[name]];
  }
  for (const name of facts.params) found[`param ${name}`] = [name, (one) => one.params[name]];
  return found;
}

const missing = (value) => value === null || value === undefined;

function chosen() {
  const known = sortings();
  const valueOf = known[gallery.sort][1];
  const kept = facts.trials.filter((one) =>
    (!gallery.states.size || gallery.states.has(one.state))
    && gallery.filters.every((filter) => passes(known[filter.by][1](one), filter)));
  const sign = gallery.down ? -1 : 1;
  return kept.sort((a, b) => {
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
    h("h2", { id: "trials-title" }, "Every trial"),
    h("p", { class: "lead" }, "Open one to see it large, or pick two to compare them."),
    h("div", { class: "controls" }, sortChoice(), stateChoice(), pairChoice("trials"),
      h("button", { id: "add-filter", type: "button", onclick: addFilter }, "Filter by score or setting"), count),
    h("div", { id: "filters" }),
    h("ul", { class: "cards", id: "cards" }),
    h("button", { class: "more", id: "more", type: "button", onclick: showMore }));
  renderFilters();
  renderCards();
}

/** More cards; who reads on goes on with the first of them, as the button may go. */
function showMore() {
  const before = gallery.shown;
  gallery.shown += PAGE;
  renderCards();
  byId("cards").children[before].querySelector(".open").focus({ preventScroll: true });
}

function sortChoice() {
  const choose = (event) => { gallery.sort = event.target.value; renderCards(); };
  const turn = (event) => {
    gallery.down = !gallery.down;
    event.currentTarget.textContent = gallery.down ? "↓" : "↑";
    event.currentTarget.setAttribute("aria-label", gallery.down ? "Highest first" : "Lowest first");
    renderCards();
  };
  return h("span", { class: "group sort" },
    h("label", { class: "field" }, "Sort by",
      h("select", { id: "sort", onchange: choose }, Object.entries(sortings()).map(([id, [name]]) =>
        h("option", { value: id, selected: id === gallery.sort }, name)))),
    h("button", { id: "sort-turn", type: "button", onclick: turn, "aria-label": gallery.down ? "Highest first" : "Lowest first" }, gallery.down ? "↓" : "↑"));
}

function stateChoice() {
  const turn = (state) => (event) => {
    if (!gallery.states.delete(state)) gallery.states.add(state);
    event.currentTarget.setAttribute("aria-pressed", String(gallery.states.has(state)));
    renderCards();
  };
  return h("span", { class: "group", role: "group", "aria-label": "Show only" },
    Object.entries(STATES).filter(([state]) => facts.counts[state]).map(([state, name]) =>
      h("button", { id: `state-${state}`, type: "button", "aria-pressed": String(gallery.states.has(state)), onclick: turn(state) },
        `${facts.counts[state]} ${name}`)));
}

function valuesOf(by) {
  const values = facts.trials.map(sortings()[by][1]).filter((value) => !missing(value));
  return { values, numeric: values.every((value) => typeof value === "number") };
}

const fresh = (by) => valuesOf(by).numeric ? { by, low: "", high: "" } : { by, option: "" };

function addFilter() {
  gallery.filters.push(fresh("goal 0"));
  showFilters();
  byId(`filter-${gallery.filters.length - 1}-by`).focus();
}

const showFilters = () => keep(() => { renderFilters(); renderCards(); });

function renderFilters() {
  fill("filters", gallery.filters.map((filter, index) => {
    const swap = (event) => { gallery.filters[index] = fresh(event.target.value); showFilters(); };
    const set = (key) => (event) => { filter[key] = event.target.value; renderCards(); };
    const drop = () => { gallery.filters.splice(index, 1); showFilters(); byId("add-filter").focus(); };
    const [name] = sortings()[filter.by];
    const options = [...new Set(valuesOf(filter.by).values.map(String))].sort();
    const bound = (key, label) => h("label", { class: "field" }, label, h("input", { id: `filter-${index}-${key}`, type: "number", step: "any", value: filter[key], oninput: set(key) }));
    return h("div", { class: "controls" },
      h("label", { class: "field" }, "Only where", h("select", { id: `filter-${index}-by`, onchange: swap },
        Object.entries(sortings()).map(([id, [label]]) => h("option", { value: id, selected: id === filter.by }, label)))),
      filter.option === undefined
        ? [bound("low", "from"), bound("high", "to")]
        : h("label", { class: "field" }, "is", h("select", { id: `filter-${index}-is`, onchange: set("option") },
          h("option", { value: "" }, "anything"), options.map((one) => h("option", { value: one, selected: one === filter.option }, one)))),
      h("button", { id: `filter-${index}-drop`, type: "button", class: "plain", onclick: drop, "aria-label": `Remove the filter by ${name}` }, "Remove"));
  }));
}

function renderCards() {
  const found = chosen();
  byId("count").textContent = found.length === facts.trials.length
    ? `${found.length} trials` : `${found.length} of ${facts.trials.length} trials`;
  fill("cards", found.slice(0, gallery.shown).map((one) => card(one, found)));
  const more = byId("more");
  more.hidden = found.length <= gallery.shown;
  more.textContent = `Show ${Math.min(PAGE, found.length - gallery.shown)} more`;
  placePicked();
}

function card(one, found) {
  const source = one.rank ? picture(trialKey(one)) : null;
  const why = one.reason || (one.state === "running" ? "has not reported yet" : "no picture");
  const marks = [one.front && "in the trade-off", one.broken?.length && "breaks a bound"].filter(Boolean);
  return h("li", { class: "card" },
    h("button", { id: `open-${one.trial}`, class: "open", type: "button", onclick: () => openTrial(one.trial, found) },
      source ? h("img", { src: source, alt: "", loading: "lazy" }) : h("span", { class: "none" }, why),
      h("span", { class: "text" },
        one.rank ? h("span", { class: "score" },
          h("span", {}, unseen(`${objective().name} `), number(one.objective)),
          h("span", { class: `gain-small ${tone(one.gain)}` }, percent(one.gain), unseen(" against the untouched photo"))) : null,
        h("span", { class: "which" }, one.rank ? `#${one.rank} · ` : "", nameOf(one), one.steps ? ` · ${one.steps} steps` : ""),
        h("span", { class: "which" }, h("span", { class: `dot ${one.state}` }), STATES[one.state]),
        marks.length ? h("span", { class: "marks" }, marks.map((mark) => h("span", { class: "badge" }, mark))) : null)),
    one.rank ? h("label", { class: "pick" },
      h("input", { id: `pick-${one.trial}`, type: "checkbox", checked: picked.includes(one.trial), onchange: () => togglePick(one.trial) }),
      "compare", unseen(` ${nameOf(one)}`)) : null);
}

// --- two to compare ---------------------------------------------------------------------------

const bar = byId("picked");

function togglePick(trial) {
  const at = picked.indexOf(trial);
  if (at >= 0) picked.splice(at, 1);
  else picked.push(trial);
  if (picked.length > 2) uncheck(picked.shift());
  renderPicked();
  tell(at >= 0 ? `${nameOf(trialOf(trial))} is no longer picked` : pickedWords());
}

function uncheck(trial) {
  const box = byId(`pick-${trial}`);
  if (box) box.checked = false;
}

const pickedNames = () => picked.map((trial) => nameOf(trialOf(trial))).join(" and ");
const pickedWords = () => picked.length < 2 ? `${pickedNames()} is picked, pick one more` : `${pickedNames()} are picked`;

function clearPicked() {
  const last = byId(`pick-${picked.at(-1)}`) ?? byId("sort"); // for the focus, as the bar goes
  picked.splice(0).forEach(uncheck);
  renderPicked();
  last.focus({ preventScroll: true });
  tell("nothing is picked");
}

function renderPicked() {
  bar.hidden = !picked.length;
  bar.replaceChildren(
    ...picked.map((trial) => h("img", { src: picture(trialKey(trialOf(trial))) ?? "data:,", alt: "" })),
    h("span", {}, picked.length < 2 ? "Pick one more" : pickedNames()),
    h("button", { id: "compare-picked", class: "main", type: "button", disabled: picked.length < 2, onclick: () => openPair(...picked) }, "Compare"),
    h("button", { id: "clear-picked", class: "plain", type: "button", onclick: clearPicked }, "Clear"));
  placePicked();
}

/** The bar floats, and stands in the card picked last: from there the Tab key leads to it. */
function placePicked() {
  const place = byId(`pick-${picked.at(-1)}`)?.closest(".card") ?? byId("trials");
  if (bar.parentElement !== place) place.append(bar);
}
