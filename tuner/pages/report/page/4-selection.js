// Selection: trials that are picked, on a card, in the table or in a plot, and marked in all of them.

const picked = new Set();
const bar = byId("picked");

/** Return a checkbox that picks a trial. */
function pickBox({ trial }, place) {
  return h("input", { id: `${place}-${trial}`, "data-pick": trial, type: "checkbox", checked: picked.has(trial), onchange: (event) => togglePick(trial, event.currentTarget.id) });
}

let pickedAt = null; // id of the checkbox that was used last; the bar follows it, so that the Tab key leads there

function togglePick(trial, place) {
  const wasPicked = picked.delete(trial);
  if (!wasPicked) picked.add(trial);
  pickedAt = place;
  showPicked();
  announce(wasPicked ? `${nameOf(trialOf(trial))} is no longer picked` : pickedText());
}

/** Pick these trials and no others. */
function pickOnly(trials) {
  picked.clear();
  for (const trial of trials) picked.add(trial);
  pickedAt = null;
  showPicked();
  announce(pickedText());
}

const pickedNames = () => [...picked].map((trial) => nameOf(trialOf(trial))).join(" and ");
const pickedText = () => picked.size === 1 ? `${pickedNames()} is picked, pick one more trial to compare`
  : picked.size === 2 ? `${pickedNames()} are picked` : `${picked.size} trials are picked; to compare, pick two`;

function clearPicked() {
  const place = byId(pickedAt) ?? byId("sort"); // gets the focus, as the bar disappears
  picked.clear();
  showPicked();
  place.focus({ preventScroll: true });
  announce("no trial is picked");
}

/** Draw the bar, and mark the picked trials on cards, in the table and in the plots. */
function showPicked() {
  renderPicked();
  markPicked();
  redraw();
}

function markPicked() {
  for (const box of document.querySelectorAll("[data-pick]")) box.checked = picked.has(Number(box.dataset.pick));
  for (const place of document.querySelectorAll("[data-trial]")) place.classList.toggle("selected", picked.has(Number(place.dataset.trial)));
}

function renderPicked() {
  bar.hidden = !picked.size;
  bar.replaceChildren(
    ...[...picked].slice(0, 2).map((trial) => h("img", { src: picture(trialKey(trialOf(trial))) ?? "data:,", alt: "" })),
    h("span", {}, picked.size < 2 ? "Pick one more trial to compare" : picked.size === 2 ? pickedNames() : `${picked.size} trials; pick two to compare`),
    h("button", { id: "compare-picked", class: "main", type: "button", disabled: picked.size !== 2, onclick: () => openTwo(...picked) }, "Compare"),
    h("button", { id: "clear-picked", class: "plain", type: "button", onclick: clearPicked }, "Clear"));
  placePicked();
}

/** Put the floating bar into the card or row that was picked last. */
function placePicked() {
  const place = byId(pickedAt)?.closest(".card, td") ?? byId("trials");
  if (bar.parentElement !== place) place.append(bar);
}
