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
  const frame = h("div", { class: "compare" }, image(before, "before"), image(after, "after"), slider,
    h("span", { class: "edge" }),
    h("span", { class: "tag left" }, before.name), h("span", { class: "tag right" }, after.name));
  return h("div", { class: "comparison", style: `--most: ${MOST_ENLARGED * sizeOf(after.key)[0]}px` }, frame, h("p", { class: "note" }, sized(before, after)));
}

const MOST_ENLARGED = 2; // a picture is shown at most this many times as large as it is

/** Return the sizes of two pictures, or the one that both have. */
function sized(...shown) {
  const sizes = shown.map(({ key }) => `${sizeOf(key).join(" × ")} px`);
  return sizes[0] === sizes[1] ? sizes[0] : shown.map(({ name }, index) => `${name}: ${sizes[index]}`).join(", ");
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
    { id: "content", name: "photo", key: `content-${pair}`, caption: "untouched" },
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

/** Return the pictures of the first screen: inputs of the pair, best published preset, best trial. */
function sides() {
  const result = inputs();
  const { preset, best } = pageData;
  if (preset && preset.trial !== best) {
    const { trial, role, caption } = preset;
    result.push({ id: "preset", name: role, key: `t${trial}p${pair}`, trial: preset, caption });
  }
  const found = trialOf(best);
  if (found) result.push({ id: "best", name: "tuned", key: trialKey(found), trial: found, caption: `${nameOf(found)}, ${found.steps} steps` });
  return result;
}
