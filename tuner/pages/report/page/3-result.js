// Result: the first screen, which compares the best trial with its inputs.

let comparedWith = "content";

function renderResult() {
  const all = sides();
  const best = all.find(({ id }) => id === "best");
  const before = all.find(({ id }) => id === comparedWith) || all[0];
  const summary = pageData.summary.map((sentence) => h("p", {}, sentence));
  if (!best) {
    fill("result", h("h2", {}, pageData.headline), summary, lineup(all, null));
    return;
  }
  fill("result",
    h("div", { class: "hero" }, compare(before, best, "result"),
      h("div", {}, headline(), h("div", { class: "summary" }, summary), pairChoice("result"), lineup(all, before))));
}

function headline() {
  const { gain, headline: text } = pageData;
  if (gain === null) return h("h2", {}, capital(text));
  return [
    h("p", { class: `gain ${tone(gain)}` }, `${Math.abs(Math.round(100 * gain))}%`),
    h("p", { class: "gain-of" }, text),
  ];
}

function lineup(all, before) {
  const onPair = pageData.pairs[pair]; // all three scores are of this pair, so they are comparable
  const scores = { best: onPair.best, preset: onPair.preset, content: onPair.untouched };
  const captionOf = (side) => {
    if (typeof scores[side.id] === "number") return `${objective().name} ${number(scores[side.id])}`;
    if (side.trial) { // costs are known for all pairs together only
      const mean = searchedPairs().length > 1 ? " on average" : "";
      return `${objective().name} ${number(side.trial.objective)}${mean}`;
    }
    return side.caption;
  };
  return h("div", { class: `lineup${all.length > 6 ? " many" : ""}`, role: "group", "aria-label": "Pictures; choose one to compare with the best trial" },
    all.map((side) => {
      const choose = () => { comparedWith = side.id; keepState(renderResult); };
      const image = h("img", { src: picture(side.key) ?? "data:,", alt: side.name, loading: "lazy" });
      const frame = side.id === "best"
        ? h("div", { class: "pic" }, image)
        : h("button", { id: `against-${side.id}`, class: "pic", type: "button", "aria-pressed": String(side === before), onclick: choose, title: `compare with ${side.name}` }, image);
      const name = side.trial?.preset ? side.trial.preset : side.trial ? `trial ${side.trial.trial}` : "";
      return h("figure", {}, frame, h("figcaption", {},
        h("b", {}, capital(side.name)), [name, captionOf(side)].filter(Boolean).join(" · ")));
    }));
}
