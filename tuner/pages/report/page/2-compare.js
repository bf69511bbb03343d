// Comparison: two pictures on top of each other, with a slider for mouse, finger and arrow keys.

function compare(before, after, place) {
  const image = (side, position) => h("img", {
    class: position, alt: side.name, src: picture(side.key, true) ?? "data:,",
  });
  const slider = h("input", {
    id: `edge-${place}`, type: "range", min: 0, max: 100, value: 50, step: 1,
    "aria-label": `Edge between ${before.name} and ${after.name}`,
    oninput: (event) => moveEdge(event.target, event.target.value),
  });
  return h("div", { class: "compare" }, image(before, "before"), image(after, "after"), slider,
    h("span", { class: "edge" }),
    h("span", { class: "tag left" }, before.name), h("span", { class: "tag right" }, after.name));
}

function moveEdge(slider, percent) {
  if (!slider) return; // the comparison has been removed
  slider.value = percent;
  slider.parentElement.style.setProperty("--x", `${percent}%`);
}

/** Return the inputs of the current pair: content, style images, reference. */
function inputs() {
  const { styles } = pageData.pairs[pair];
  return [
    { id: "content", name: "content", key: `content-${pair}`, caption: "untouched" },
    ...styles.map((style, index) => ({
      id: index ? `style${index}` : "style",
      name: styles.length > 1 ? `style ${index + 1} of ${styles.length}` : "style",
      key: `style${index ? index + 1 : ""}-${pair}`,
      caption: styles.length > 1 ? styleCaption(style) : "the look to apply",
    })),
    { id: "reference", name: "reference", key: `reference-${pair}`, caption: "the goal" },
  ];
}

/** Return how much of the result follows a style image, or in which part of the picture. */
function styleCaption({ share, region }) {
  if (share !== null) return `${Math.round(100 * share)}% of the blend`;
  return region ? "inside its region" : "outside all regions";
}

/** Return the pictures to compare: inputs of the pair, best trial, best preset. */
function sides() {
  const result = inputs();
  const add = (id, trialNumber, name) => {
    const trial = trialOf(trialNumber);
    if (trial) result.push({ id, name, key: trialKey(trial), trial });
  };
  add("best", pageData.best, "best trial");
  if (pageData.preset !== pageData.best) add("preset", pageData.preset, `best preset, ${pageData.presetRan}`);
  return result;
}
