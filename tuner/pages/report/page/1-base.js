// Base: page data, pictures, numbers and elements, used by every part of the page.
// Text only ever enters the page as text nodes, so names in a job cannot become markup.

const nonce = document.currentScript.nonce; // the page's policy runs only scripts with this nonce
const block = (id) => JSON.parse(document.getElementById(id).textContent || "null");
let pageData = block("page-data");
const live = pageData.live; // seconds between two requests for new data; undefined in a file
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

const missing = (value) => value === null || value === undefined;
const byId = (id) => document.getElementById(id);

/** Replace the content of an element and free the plots in it. */
function fill(id, ...children) {
  const element = byId(id);
  element.querySelectorAll(".canvas").forEach(forget);
  element.replaceChildren(...children.flat().filter(Boolean));
}

/** Change the page but keep focus, cursor, open details and the sliders between pictures as they are. */
function keepState(change) {
  const { id: focused, type, selectionStart, selectionEnd } = document.activeElement ?? {};
  const open = [...document.querySelectorAll("details[open]")].map(({ id }) => id);
  const edges = [...document.querySelectorAll(".compare input")].map(({ id, value }) => [id, value]);
  change();
  for (const id of open) byId(id)?.setAttribute("open", "");
  for (const [id, value] of edges) moveEdge(byId(id), value);
  if (focused && document.activeElement?.id !== focused) {
    byId(focused)?.focus({ preventScroll: true });
    if (type === "text") byId(focused)?.setSelectionRange(selectionStart, selectionEnd);
  }
}

/** Text for screen readers only. */
const srOnly = (text) => h("span", { class: "sr-only" }, text);

/** Let a screen reader read a text. An open dialog has a place of its own, as the rest is not read. */
function announce(text) {
  byId(byId("dialog").open ? "dialog-announcement" : "announcement").replaceChildren(h("span", {}, text));
}

/** Return the address of a picture, or undefined. In a file, pictures are parsed on first use. */
function picture(key, large = false) {
  if (live) {
    const trial = key.match(/^t(\d+)p/); // the picture of a trial changes with each of its reports
    const reports = trial ? trialOf(Number(trial[1]))?.rungs.length ?? 0 : 0;
    return `picture/${key}${large ? "-large" : ""}?${reports}-${sizeOf(key)[0]}`;
  }
  pictures ??= block("pictures");
  return (large && pictures[`${key}-large`]) || pictures[key] || pictures[`${key}-large`];
}

/** Return [width, height] of a picture in pixels; all trials have the size at which they were tuned. */
const sizeOf = (key) => pageData.sizes[key] ?? pageData.pairs[pair].size;

/** Return a score with the decimals of its metric. */
const scoreText = (value, { decimals }) => typeof value === "number" ? value.toFixed(decimals) : "–";

function number(value, digits = 3) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  if (value !== 0 && (Math.abs(value) >= 1e5 || Math.abs(value) < 1e-3)) return value.toExponential(2);
  return String(Number(value.toPrecision(digits + (Math.abs(value) >= 1 ? 1 : 0))));
}

const percent = (share) =>
  share === null || share === undefined ? "–" : `${share > 0 ? "+" : share < 0 ? "−" : ""}${Math.abs(Math.round(share * 100))}%`;

const tone = (gain) => (gain > 0 ? "better" : gain < 0 ? "worse" : "");

const objective = () => pageData.objectives[0];
const objectiveText = (value) => scoreText(value, objective());
const trialOf = (trialNumber) => pageData.trials.find(({ trial }) => trial === trialNumber);
const nameOf = ({ preset, trial }) => preset ? `preset ${preset}` : `trial ${trial}`;
const capital = (text) => `${text[0].toUpperCase()}${text.slice(1)}`;
const better = (a, b, higher) => (higher ? a > b : a < b);
const rankedTrials = () => pageData.trials.filter(({ rank }) => rank);

/** Index of the pair that the whole page shows. */
let pair = 0;
const trialKey = ({ trial }) => `t${trial}p${pair}`;

const searchedPairs = () => pageData.pairs.filter(({ heldOut }) => !heldOut);

function pairChoice(place) {
  const pairs = searchedPairs();
  if (pairs.length < 2) return null;
  const choose = (event) => {
    pair = Number(event.target.value);
    render();
    if (byId("dialog").open) reopen();
  };
  return h("label", { class: "field" }, "Pair",
    h("select", { id: `pair-${place}`, onchange: choose }, pairs.map(({ name }, index) =>
      h("option", { value: index, selected: index === pair }, name))));
}

function table(caption, head, rows) {
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", {}, h("caption", {}, caption),
      head.some(Boolean) ? h("thead", {}, h("tr", {}, head.map((cell) => h("th", { scope: "col" }, cell)))) : null,
      h("tbody", {}, rows.map(([first, ...rest]) =>
        h("tr", {}, h("th", { scope: "row" }, first),
          rest.map((cell) => cell instanceof Node && cell.tagName === "TD" ? cell : h("td", {}, cell)))))));
}

/** Return a text as nodes, with what is between backticks as code. */
function withCode(text) {
  return text.split("`").map((part, index) => (index % 2 ? h("code", {}, part) : part));
}
