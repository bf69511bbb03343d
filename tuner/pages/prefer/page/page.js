// Shows two results and sends which one was chosen. Which is which is not said: it would sway.

let state = JSON.parse(document.getElementById("state").textContent);
const byId = (id) => document.getElementById(id);

function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value);
  }
  element.append(...children.flat());
  return element;
}

function render() {
  const { left, right, pair } = state.question;
  byId("inputs").replaceChildren(...Object.entries(state.inputs).map(([key, name]) =>
    h("figure", {}, h("img", { src: `picture/${key}`, alt: `the ${name}` }), h("figcaption", {}, name))));
  const focused = [...byId("two").children].indexOf(document.activeElement);
  byId("two").replaceChildren(...[left, right].map((trial, side) =>
    h("button", { type: "button", "aria-label": side ? "The right one is better" : "The left one is better", onclick: () => choose(side) },
      h("img", { src: `picture/t${trial}p${pair}-large`, alt: side ? "right result" : "left result" }))));
  byId("two").children[focused]?.focus();
  byId("undo").disabled = !state.votes;
  byId("count").textContent = `${state.votes} ${state.votes === 1 ? "vote" : "votes"}${state.sure ? `; ${state.sure}` : ""}`;
  byId("order").replaceChildren(h("table", {},
    h("thead", {}, h("tr", {}, ["", "result", "strength", "±"].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, state.order.map((one, rank) =>
      h("tr", {}, [rank + 1, one.name, one.strength.toFixed(2), one.spread.toFixed(2)].map((cell) => h("td", {}, String(cell))))))));
}

// A vote is for what is seen: none before both pictures are there, or cannot be had.
async function show() {
  render();
  await Promise.allSettled([...document.querySelectorAll("#two img")].map((image) => image.decode()));
}

let busy = true;

async function send(what) {
  if (busy) return; // a key that is pressed now is meant for what is not there yet
  busy = true;
  byId("two").setAttribute("aria-busy", "true");
  try {
    const answer = await fetch("vote", { method: "POST", body: JSON.stringify(what) });
    const found = await answer.json();
    if (!answer.ok) throw new Error(found.error || answer.statusText);
    state = found;
    await show();
  } catch (error) {
    byId("said").textContent = `The vote was not kept: ${error.message}`;
  } finally {
    busy = false;
    byId("two").removeAttribute("aria-busy");
  }
}

function choose(side) {
  const { left, right, pair } = state.question;
  return send(side ? { better: right, worse: left, pair } : { better: left, worse: right, pair });
}

byId("skip").addEventListener("click", () => send({ skip: true }));
byId("undo").addEventListener("click", () => send({ undo: true }));
document.addEventListener("keydown", (event) => {
  if (event.repeat && event.key === "Enter") event.preventDefault(); // a held key is one vote
  const act = { ArrowLeft: () => choose(0), ArrowRight: () => choose(1), ArrowDown: () => send({ skip: true }), Backspace: () => send({ undo: true }) }[event.key];
  if (!act || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return; // the browser's
  event.preventDefault();
  if (!event.repeat) act();
});
show().then(() => {
  busy = false;
  document.documentElement.dataset.ready = "yes";
});
