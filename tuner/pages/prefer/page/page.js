// Shows two results and sends the choice. The page does not name them, so that names do not matter.

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
    h("figure", {}, h("img", { src: `picture/${key}`, alt: name }), h("figcaption", {}, name))));
  const focused = [...byId("two").children].indexOf(document.activeElement);
  byId("two").replaceChildren(...[left, right].map((trial, side) =>
    h("button", { type: "button", "aria-label": side ? "The right result is better" : "The left result is better", onclick: () => choose(side) },
      h("img", { src: `picture/t${trial}p${pair}-large`, alt: side ? "right result" : "left result" }))));
  byId("two").children[focused]?.focus();
  byId("undo").disabled = !state.votes;
  byId("count").textContent = `${state.votes} ${state.votes === 1 ? "vote" : "votes"}${state.certainty ? `; ${state.certainty}` : ""}`;
  byId("ranking-table").replaceChildren(h("table", {},
    h("thead", {}, h("tr", {}, ["", "result", "strength", "±"].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, state.ranking.map(({ name, strength, spread }, rank) =>
      h("tr", {}, [rank + 1, name, strength.toFixed(2), spread.toFixed(2)].map((cell) => h("td", {}, String(cell))))))));
}

// Wait until both pictures are loaded or have failed to load, so that nobody votes on unseen ones.
async function show() {
  render();
  await Promise.allSettled([...document.querySelectorAll("#two img")].map((image) => image.decode()));
}

let busy = true;

async function send(message) {
  if (busy) return; // the next question is not visible yet
  busy = true;
  byId("two").setAttribute("aria-busy", "true");
  try {
    const answer = await fetch("vote", { method: "POST", body: JSON.stringify(message) });
    const content = await answer.json();
    if (!answer.ok) throw new Error(content.error || answer.statusText);
    state = content;
    await show();
  } catch (error) {
    byId("message").textContent = `The vote was not saved: ${error.message}`;
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
  if (event.repeat && event.key === "Enter") event.preventDefault(); // a key that is held down counts once
  const action = { ArrowLeft: () => choose(0), ArrowRight: () => choose(1), ArrowDown: () => send({ skip: true }), Backspace: () => send({ undo: true }) }[event.key];
  if (!action || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return; // keys of the browser
  event.preventDefault();
  if (!event.repeat) action();
});
show().then(() => {
  busy = false;
  document.documentElement.dataset.ready = "yes";
});
