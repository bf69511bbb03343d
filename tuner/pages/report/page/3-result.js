// Result: the first screen. What was found, how good it is, and what to take away.

let comparedWith = "reference";

function renderResult() {
  const all = sides();
  const best = all.find(({ id }) => id === "best");
  const before = all.find(({ id }) => id === comparedWith) || all.find(({ id }) => id === "reference");
  const notes = pageData.notes.map((sentence) => h("p", { class: "note" }, withCode(sentence)));
  if (!best) return fill("result", h("h2", {}, capital(pageData.headline.text)), notes, lineup(all, null));
  fill("result",
    h("div", { class: "hero" },
      h("div", { class: "headline" }, headline(), pageData.second ? h("p", {}, pageData.second) : null),
      compare(before, best, "result"),
      h("div", { class: "found" }, settingsList(), downloads(), pairChoice("result"), notes)),
    lineup(all, before));
}

function headline() {
  const { share, text, tone: feeling } = pageData.headline;
  if (share === null) return h("h2", {}, capital(text));
  return h("h2", { class: "headline-text" },
    h("span", { class: `gain ${feeling === "bad" ? "worse" : "better"}` }, `${Math.round(100 * share)}%`), ` ${text}`);
}

function settingsList() {
  return h("dl", { class: "settings", "aria-label": "Settings that were found" },
    pageData.settings.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

function lineup(all, before) {
  const onPair = pageData.pairs[pair]; // all three scores are of this pair, so they are comparable
  const scores = { best: onPair.best, preset: onPair.preset, content: onPair.untouched };
  const scoreOf = (side) => {
    if (typeof scores[side.id] === "number") return `${objective().label} ${objectiveText(scores[side.id])}`;
    if (!side.trial) return null; // costs are known for all pairs together only
    return `${objective().label} ${objectiveText(side.trial.objective)}${searchedPairs().length > 1 ? " on average" : ""}`;
  };
  return h("div", { class: "lineup", style: `--count: ${all.length}`, tabindex: "0", role: "group", "aria-label": "Pictures; choose one to compare with the tuned one" },
    all.map((side) => {
      const choose = () => { comparedWith = side.id; keepState(renderResult); };
      const [width, height] = sizeOf(side.key);
      const image = h("img", { src: picture(side.key) ?? "data:,", alt: side.name, loading: "lazy" });
      const frame = side.id === "best"
        ? h("div", { class: "pic" }, image)
        : h("button", { id: `against-${side.id}`, class: "pic", type: "button", "aria-pressed": String(side === before), onclick: choose, title: `compare with ${side.name}` }, image);
      return h("figure", { style: `--most: ${MOST_ENLARGED * width}px` }, frame, h("figcaption", {},
        h("b", {}, capital(side.name)), [scoreOf(side), side.caption, `${width} × ${height} px`].filter(Boolean).join(" · ")));
    }));
}
