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

/** What the pair is made of: the photo, its style images, the reference. */
function inputs() {
  const { styles } = facts.pairs[pair];
  return [
    { id: "content", name: "the photo", key: `content${pair}`, says: "untouched" },
    ...styles.map((style, index) => ({
      id: index ? `style${index}` : "style",
      name: styles.length > 1 ? `style ${index + 1} of ${styles.length}` : "the style",
      key: `style${pair}${index ? `n${index}` : ""}`,
      says: styles.length > 1 ? part(style) : "whose look is wanted",
    })),
    { id: "reference", name: "the reference", key: `reference${pair}`, says: "what good looks like" },
  ];
}

/** How much of the result takes after a style image, or where. */
function part({ share, region }) {
  if (share !== null) return `${Math.round(100 * share)}% of the blend`;
  return region ? "in its region" : "where no region is";
}

/** What can be compared: the inputs of the pair, the best, the best preset. */
function sides() {
  const found = inputs();
  const add = (id, trial, name) => {
    const one = trialOf(trial);
    if (one) found.push({ id, name, key: trialKey(one), trial: one });
  };
  add("best", facts.best, "the best");
  if (facts.preset !== facts.best) add("preset", facts.preset, `the best preset, ${facts.presetRan}`);
  return found;
}
