// Downloads: preset, picture and table. They work in a file as well, without a request.

/** Offer a file to the browser. */
function save(name, blob) {
  const address = URL.createObjectURL(blob);
  const link = h("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

function downloads() {
  const { presetFile } = pageData;
  if (!presetFile) return null;
  const { stem } = presetFile;
  const button = (id, text, onclick, main) => h("button", { id, type: "button", class: main ? "main" : null, onclick }, text);
  return h("div", { class: "controls", role: "group", "aria-label": "Download" },
    button("save-preset", "Download preset", () => save(`${stem}.json`, new Blob([presetFile.text], { type: "application/json" })), true),
    button("save-picture", "PNG", () => savePicture(stem)),
    button("save-table", "CSV of all trials", () => save(`${stem}-trials.csv`, new Blob([csv()], { type: "text/csv" }))));
}

async function savePicture(stem) {
  const key = trialKey(trialOf(pageData.best));
  const name = `${stem}${searchedPairs().length > 1 ? `-pair${pair}` : ""}.png`;
  const file = await pictureFile(key).catch((error) => announce(`The picture could not be saved: ${error.message}`));
  if (file) save(name, file);
}

/** Return a picture as PNG: the file of the run, or a copy of what the page shows if that is too large for a page. */
async function pictureFile(key) {
  if (live) {
    const answer = await fetch(`picture/${key}-png`, { cache: "no-store" });
    if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
    return answer.blob();
  }
  pictures ??= block("pictures");
  const embedded = pictures[`${key}-png`];
  if (embedded) {
    const bytes = Uint8Array.from(atob(embedded.slice(embedded.indexOf(",") + 1)), (letter) => letter.charCodeAt(0));
    return new Blob([bytes], { type: "image/png" });
  }
  const image = h("img", { src: picture(key, true) });
  await image.decode();
  const canvas = h("canvas", { width: image.naturalWidth, height: image.naturalHeight });
  canvas.getContext("2d").drawImage(image, 0, 0);
  return new Promise((resolve) => { canvas.toBlob(resolve, "image/png"); });
}

/** Return all trials as CSV, with the columns of `load_run(...).trials`. */
function csv() {
  const { measures, params, trials } = pageData;
  const columns = ["trial", "state", "rank", "objective", "gain", "steps", "seconds", "preset", "reason"];
  const head = [...columns, ...measures.map(({ name }) => `score_${name}`), ...params.map((name) => `param_${name}`)];
  const rows = [...trials].sort((a, b) => (a.rank ?? Infinity) - (b.rank ?? Infinity) || a.trial - b.trial).map((trial) => [
    ...columns.map((name) => trial[name]),
    ...measures.map(({ name }) => trial.scores?.[name]), ...params.map((name) => trial.params[name])]);
  return `${[head, ...rows].map((row) => row.map(csvCell).join(",")).join("\r\n")}\r\n`;
}

/** Return a value as a cell; a program for tables must not read a text as a formula. */
function csvCell(value) {
  if (missing(value)) return "";
  if (typeof value !== "string") return String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
