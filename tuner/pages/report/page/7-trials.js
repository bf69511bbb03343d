// Table of trials: the trials of the gallery with all numbers, sorted by a click on a heading.

const ROWS = 25; // at first, and more with each press of the button
let rowCount = ROWS;

/** Return the columns of the table as [id, heading, text of a trial]; ids are those of `columns()`. */
function tableColumns() {
  const { objectives, measures, params } = pageData;
  const named = objectives.map(({ name }) => name);
  return [
    ["rank", "rank", (trial) => number(trial.rank, 6)],
    ...objectives.map((goal, index) => [`goal ${index}`, goal.label, (trial) => scoreText(index ? trial.values?.[index] : trial.objective, goal)]),
    ["steps", "steps", (trial) => number(trial.steps, 6)],
    ...measures.filter(({ name }) => !named.includes(name)).map((measure) => [`score ${measure.name}`, measure.label, (trial) => scoreText(trial.scores?.[measure.name], measure)]),
    ...params.map((name) => [`param ${name}`, name, (trial) => number(trial.params[name])]),
  ];
}

function renderTrialTable() {
  if (!pageData.trials.length) return fill("table");
  fill("table", h("h2", { id: "table-title" }, "Table of trials"),
    h("p", { class: "lead" }, "Choose a heading to sort; the filters above apply here, too. To mark trials everywhere, pick them here, or with the box tool of a plot."),
    h("div", { class: "scroll trial-table", tabindex: "0", role: "region", "aria-label": "Table of trials" },
      h("table", {}, h("thead", { id: "table-head" }), h("tbody", { id: "table-rows" }))),
    h("button", { class: "more", id: "more-rows", type: "button", onclick: () => { rowCount += 4 * ROWS; renderTable(); } }, "Show more rows"));
  renderTable();
}

function renderTable() {
  if (!byId("table-rows")) return;
  const shown = tableColumns(), trials = filteredTrials();
  keepState(() => {
    byId("table-head").replaceChildren(h("tr", {}, h("th", { scope: "col" }, heading("trial", "trial")), ...shown.map(([id, name]) =>
      h("th", { scope: "col", "aria-sort": sortOf(id) }, heading(id, name)))));
    byId("table-rows").replaceChildren(...trials.slice(0, rowCount).map((trial) => row(trial, trials, shown)));
  });
  byId("more-rows").hidden = trials.length <= rowCount;
  placePicked();
}

const sortOf = (id) => gallery.sort !== id ? null : gallery.descending ? "descending" : "ascending";

function heading(id, name) {
  const sort = () => {
    gallery.descending = gallery.sort === id && !gallery.descending;
    gallery.sort = id;
    renderGallery();
    renderTable();
  };
  const arrow = gallery.sort === id ? (gallery.descending ? " ↓" : " ↑") : "";
  return h("button", { id: `by-${id.replaceAll(" ", "-")}`, class: "plain", type: "button", onclick: sort }, `${name}${arrow}`);
}

function row(trial, trials, shown) {
  const open = h("button", { id: `row-${trial.trial}`, class: "plain", type: "button", onclick: () => openTrial(trial.trial, trials) },
    h("span", { class: `dot ${trial.state}`, title: STATES[trial.state] }), nameOf(trial), srOnly(`, ${STATES[trial.state]}`));
  const pick = trial.rank ? h("label", { class: "row-pick" }, pickBox(trial, "pick-row"), srOnly(`pick ${nameOf(trial)}`)) : null;
  return h("tr", { "data-trial": trial.trial, class: picked.has(trial.trial) ? "selected" : null },
    h("td", {}, h("span", { class: "row-name" }, pick, open)), shown.map(([, , text]) => h("td", {}, text(trial))));
}
