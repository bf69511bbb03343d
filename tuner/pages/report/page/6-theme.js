// Theme: light or dark colors, as the system has them or as chosen with the button.

const dark = matchMedia("(prefers-color-scheme: dark)");
let theme = null; // chosen with the button; null follows the system

function applyTheme() {
  const current = theme ?? (dark.matches ? "dark" : "light");
  document.documentElement.dataset.theme = current;
  byId("theme").textContent = current === "dark" ? "Light" : "Dark";
  byId("theme").setAttribute("aria-label", current === "dark" ? "Light colors" : "Dark colors");
  redraw();
}

byId("theme").addEventListener("click", () => {
  theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  applyTheme();
});
dark.addEventListener("change", applyTheme);
