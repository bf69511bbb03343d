// The first screen: what came of it, beside what it started from.

let against = "content";

function renderResult() {
  const found = sides();
  const best = found.find((side) => side.id === "best");
  const before = found.find((side) => side.id === against) || found[0];
  const says = facts.summary.map((sentence) => h("p", {}, sentence));
  if (!best) {
    fill("result", h("h2", {}, "No trial has reported yet"), says, lineup(found, null));
    return;
  }
  fill("result",
    h("div", { class: "hero" }, compare(before, best, "result"),
      h("div", {}, headline(), h("div", { class: "says" }, says), pairChoice("result"), lineup(found, before))));
}

function headline() {
  const soFar = facts.over === null ? " so far" : "";
  if (facts.gain === null) return h("h2", {}, `Best${soFar}: ${nameOf(trialOf(facts.best))}`);
  const won = facts.gain > 0;
  return [
    h("p", { class: `gain ${tone(facts.gain)}` }, `${Math.abs(Math.round(100 * facts.gain))}%`),
    h("p", { class: "gain-of" }, `${won ? "better" : "worse"} than the untouched photo${soFar}, by ${objective().name}`),
  ];
}

function lineup(found, before) {
  const here = facts.pairs[pair]; // all three by this pair, so that they compare
  const scores = { best: here.best, preset: here.preset, content: here.untouched };
  const scoreOf = (side) => {
    if (typeof scores[side.id] === "number") return `${objective().name} ${number(scores[side.id])}`;
    if (side.trial) { // costs are of all pairs together
      const mean = searchedPairs().length > 1 ? " on average" : "";
      return `${objective().name} ${number(side.trial.objective)}${mean}`;
    }
    return side.says;
  };
  return h("div", { class: `lineup${found.length > 6 ? " many" : ""}`, role: "group", "aria-label": "Pictures; choose one to compare the best with" },
    found.map((side) => {
      const show = () => { against = side.id; keep(renderResult); };
      const shown = h("img", { src: picture(side.key) ?? "data:,", alt: side.name, loading: "lazy" });
      const frame = side.id === "best"
        ? h("div", { class: "pic" }, shown)
        : h("button", { id: `against-${side.id}`, class: "pic", type: "button", "aria-pressed": String(side === before), onclick: show, title: `compare with ${side.name}` }, shown);
      const label = side.trial?.preset ? side.trial.preset : side.trial ? `trial ${side.trial.trial}` : "";
      return h("figure", {}, frame, h("figcaption", {},
        h("b", {}, capital(side.name)), [label, scoreOf(side)].filter(Boolean).join(" · ")));
    }));
}
