// Two pictures over each other, with an edge to move: by mouse, finger or arrow keys.

function compare(before, after, place) {
  const image = (one, side) => h("img", {
    class: side, alt: one.name, src: picture(one.key, true) ?? "data:,",
  });
  const slide = h("input", {
    id: `edge-${place}`, type: "range", min: 0, max: 100, value: 50, step: 1,
    "aria-label": `Edge between ${before.name} and ${after.name}`,
    oninput: (event) => moveEdge(event.target, event.target.value),
  });
  return h("div", { class: "compare" }, image(before, "before"), image(after, "after"), slide,
    h("span", { class: "edge" }),
    h("span", { class: "tag left" }, before.name), h("span", { class: "tag right" }, after.name));
}

function moveEdge(slide, percent) {
  if (!slide) return; // what it was in is gone
  slide.value = percent;
  slide.parentElement.style.setProperty("--x", `${percent}%`);
}

const INPUTS = { content: "the photo", style: "the style", reference: "the reference" };

/** What can be compared: the inputs of the pair, the best, the best preset. */
function sides() {
  const found = [];
  for (const [role, name] of Object.entries(INPUTS)) found.push({ id: role, name, key: `${role}${pair}` });
  const add = (id, trial, name) => {
    const one = trialOf(trial);
    if (one) found.push({ id, name, key: trialKey(one), trial: one });
  };
  add("best", facts.best, "the best");
  if (facts.preset !== facts.best) add("preset", facts.preset, "the best preset");
  return found;
}
