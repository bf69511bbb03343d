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
    h("button", { class: "more", id: "more", type: "button", onclick: () => { gallery.shown += PAGE; renderCards(); } }));
  renderFilters();
  renderCards();
}

function sortChoice() {
  const choose = (event) => { gallery.sort = event.target.value; renderCards(); };
  const turn = (event) => {
    gallery.down = !gallery.down;
    event.currentTarget.textContent = gallery.down ? "↓" : "↑";
    event.currentTarget.setAttribute("aria-label", gallery.down ? "Highest first" : "Lowest first");
    renderCards();
  };
  return h("span", { class: "group" },
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
}

function card(one, found) {
  const source = one.rank ? picture(trialKey(one)) : null;
  const score = one.rank ? `${number(one.objective)}` : STATES[one.state];
  const why = one.reason || (one.state === "running" ? "has not reported yet" : "no picture");
  return h("li", { class: "card" },
    h("button", { id: `open-${one.trial}`, class: "open", type: "button", onclick: () => openTrial(one.trial, found), "aria-label": `Open ${nameOf(one)}, ${objective().name} ${score}` },
      source ? h("img", { src: source, alt: "", loading: "lazy" }) : h("span", { class: "none" }, why),
      h("span", { class: "text" },
        h("span", { class: "score" }, score, h("span", { class: tone(one.gain) }, one.rank ? percent(one.gain) : "")),
        h("span", { class: "which" }, h("span", { class: `dot ${one.state}`, title: STATES[one.state] }),
          one.rank ? `#${one.rank} · ` : "", nameOf(one), one.steps ? ` · ${one.steps} steps` : "",
          one.broken?.length ? " · breaks a bound" : ""))),
    one.rank ? h("label", { class: "pick" },
      h("input", { id: `pick-${one.trial}`, type: "checkbox", checked: picked.includes(one.trial), onchange: () => togglePick(one.trial) }), "compare") : null);
}

function togglePick(trial) {
  const at = picked.indexOf(trial);
  if (at >= 0) picked.splice(at, 1);
  else picked.push(trial);
  if (picked.length > 2) {
    picked.shift();
    keep(renderCards);
  }
  renderPicked();
}

function renderPicked() {
  const bar = byId("picked");
  bar.hidden = !picked.length;
  const clear = () => { picked.length = 0; renderPicked(); renderCards(); };
  fill("picked", picked.map((trial) => h("img", { src: picture(trialKey(trialOf(trial))) ?? "data:,", alt: nameOf(trialOf(trial)) })),
    h("span", {}, picked.length < 2 ? "Pick one more" : `${nameOf(trialOf(picked[0]))} and ${nameOf(trialOf(picked[1]))}`),
    h("button", { id: "compare-picked", class: "main", type: "button", disabled: picked.length < 2, onclick: () => openPair(...picked) }, "Compare"),
    h("button", { id: "clear-picked", class: "plain", type: "button", onclick: clear }, "Clear"));
}
