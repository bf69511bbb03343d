// What every part of the page uses: the facts, pictures, numbers, and one way to make elements.
// Text only ever enters as text, so whatever a job names its things stays text.

const nonce = document.currentScript.nonce; // lets a script run under the page's policy
const block = (id) => JSON.parse(document.getElementById(id).textContent || "null");
let facts = block("facts");
const live = facts.live; // how often to look again in seconds, or nothing in a file
let pictures = null;

function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

const byId = (id) => document.getElementById(id);

/** Replace what stands in an element; the plots in it are let go of. */
function fill(id, ...children) {
  const element = byId(id);
  element.querySelectorAll(".canvas").forEach(forget);
  element.replaceChildren(...children.flat().filter(Boolean));
}

/** Change the page, and leave a person where they were: focus, open details, edges between pictures. */
function keep(change) {
  const focused = document.activeElement?.id;
  const open = [...document.querySelectorAll("details[open]")].map(({ id }) => id);
  const edges = [...document.querySelectorAll(".compare input")].map(({ id, value }) => [id, value]);
  change();
  for (const id of open) byId(id)?.setAttribute("open", "");
  for (const [id, value] of edges) moveEdge(byId(id), value);
  if (focused && document.activeElement?.id !== focused) byId(focused)?.focus({ preventScroll: true });
}

/** Words for a screen reader alone. */
const unseen = (words) => h("span", { class: "unseen" }, words);

/** Have it read aloud, also where it was said before; what is behind an open dialog is not read. */
function tell(words) {
  byId(byId("dialog").open ? "said-in-dialog" : "said").replaceChildren(h("span", {}, words));
}

/** The address of a picture, or nothing. In a file they are parsed when the first one is shown. */
function picture(key, large = false) {
  if (live) {
    const trial = key.match(/^t(\d+)p/); // whose picture changes when it has reported again
    return `picture/${key}${large ? "-large" : ""}?${trial ? trialOf(Number(trial[1])).rungs.length : 0}`;
  }
  pictures ??= block("pictures");
  return (large && pictures[`${key}-large`]) || pictures[key] || pictures[`${key}-large`];
}

function number(value, digits = 3) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  if (value !== 0 && (Math.abs(value) >= 1e5 || Math.abs(value) < 1e-3)) return value.toExponential(2);
  return String(Number(value.toPrecision(digits + (Math.abs(value) >= 1 ? 1 : 0))));
}

const percent = (share) =>
  share === null || share === undefined ? "–" : `${share > 0 ? "+" : share < 0 ? "−" : ""}${Math.abs(Math.round(share * 100))}%`;

const tone = (share) => (share > 0 ? "better" : share < 0 ? "worse" : "");

const objective = () => facts.objectives[0];
const trialOf = (trial) => facts.trials.find((one) => one.trial === trial);
const nameOf = (one) => one.preset ? `preset ${one.preset}` : `trial ${one.trial}`;
const capital = (words) => `${words[0].toUpperCase()}${words.slice(1)}`;
const better = (a, b, higher) => (higher ? a > b : a < b);

/** The pair that is shown everywhere, where there are several. */
let pair = 0;
const trialKey = (one) => `t${one.trial}p${pair}`;

const searchedPairs = () => facts.pairs.filter((one) => !one.heldOut);

function pairChoice(place) {
  const shown = searchedPairs();
  if (shown.length < 2) return null;
  const choose = (event) => {
    pair = Number(event.target.value);
    render();
    if (byId("dialog").open) showAgain();
  };
  return h("label", { class: "field" }, "Pair",
    h("select", { id: `pair-${place}`, onchange: choose }, shown.map((one, index) =>
      h("option", { value: index, selected: index === pair }, one.name))));
}

function table(caption, head, rows) {
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", {}, h("caption", {}, caption),
      head.some(Boolean) ? h("thead", {}, h("tr", {}, head.map((cell) => h("th", { scope: "col" }, cell)))) : null,
      h("tbody", {}, rows.map(([first, ...rest]) =>
        h("tr", {}, h("th", { scope: "row" }, first),
          rest.map((cell) => cell instanceof Node && cell.tagName === "TD" ? cell : h("td", {}, cell)))))));
}
