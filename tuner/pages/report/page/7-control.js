// Control: commands to the running search, as buttons. `nst-tuner ctl` does the same.

/** Command -> its name in the form, what to type, and an example of that. */
const COMMANDS = {
  try: ["Try settings next", "settings", "tv_weight=50 init=style"],
  "more-like": ["Search near a trial", "number of the trial", "7"],
  "stop-trial": ["Stop a trial", "number of the trial", "7"],
  set: ["Change the budget", "key and value", "budget.minutes=60"],
};

const typed = { command: "try", text: "", answer: "" }; // what the form holds while the page is drawn anew

const controls = () => live && pageData.control.running;

function renderControl() {
  const { paused, commands } = pageData.control;
  if (!controls() && !commands.length) return fill("control");
  fill("control", h("h2", { id: "control-title" }, controls() ? "Steer the run" : "Commands during the run"),
    controls() ? form(paused) : null,
    commands.length ? h("ol", { class: "note", id: "commands" }, commands.map((text) => h("li", {}, text))) : null);
}

function form(paused) {
  const choose = (event) => { typed.command = event.target.value; renderControl(); byId("command").focus(); };
  const submit = (event) => {
    event.preventDefault();
    sendTyped();
  };
  const [, label, example] = COMMANDS[typed.command];
  return h("form", { class: "controls", id: "steer", onsubmit: submit },
    h("button", { id: "pause", type: "button", onclick: () => sendCommand(paused ? "resume" : "pause", []) },
      paused ? "Resume" : "Pause"),
    h("label", { class: "field" }, "Command", h("select", { id: "command", onchange: choose },
      Object.entries(COMMANDS).map(([name, [text]]) => h("option", { value: name, selected: name === typed.command }, text)))),
    h("label", { class: "field" }, label, h("input", { id: "arguments", type: "text", placeholder: example, autocomplete: "off", spellcheck: "false",
      value: typed.text, oninput: (event) => { typed.text = event.target.value; } })),
    h("button", { id: "send", type: "submit" }, "Send"),
    h("p", { class: "note", id: "command-answer", role: "status" }, typed.answer));
}

/** Buttons for one trial, in its dialog. */
function trialControls({ trial, state, preset }) {
  if (!controls()) return [];
  return [
    preset ? null : h("button", { id: "more-like", type: "button", onclick: () => sendCommand("more-like", [String(trial)]) }, "More like this"),
    state === "running" ? h("button", { id: "stop-trial", type: "button", onclick: () => sendCommand("stop-trial", [String(trial)]) }, "Stop this trial") : null,
  ];
}

/** Send what the form holds, and empty it once that is done, unless something else was typed meanwhile. */
async function sendTyped() {
  const { command, text } = typed;
  const done = await sendCommand(command, text.split(/\s+/).filter(Boolean));
  if (done && typed.text === text) {
    typed.text = "";
    if (byId("arguments")) byId("arguments").value = "";
  }
}

/** Send a command; return whether it is done, and neither refused nor left for later. */
async function sendCommand(name, words) {
  show(`${name}: sent …`);
  try {
    const answer = await fetch("ctl", { method: "POST", body: JSON.stringify({ command: name, arguments: words }) });
    const { command, state, reason, error } = await answer.json();
    show(error ?? `${command}: ${reason ?? { done: "done", sent: "sent; the search carries it out before its next trial" }[state]}`);
    if (state === "done") await refresh();
    return state === "done";
  } catch {
    show("not sent: the server does not answer");
    return false;
  }

  function show(text) {
    typed.answer = text;
    if (byId("command-answer")) byId("command-answer").textContent = text;
    announce(text);
  }
}
