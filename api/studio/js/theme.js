// Dark or light: the system's, until somebody says otherwise.

import { byId } from "./dom.js";

const NAME = "rarebit.theme";
const dark = matchMedia("(prefers-color-scheme: dark)");
const root = document.documentElement;

export function createTheme() {
  const button = byId("theme");
  const now = () => root.dataset.theme ?? (dark.matches ? "dark" : "light");
  const show = () => {
    button.textContent = now() === "dark" ? "Light" : "Dark";
  };
  const kept = localStorage.getItem(NAME);
  if (kept) root.dataset.theme = kept;
  button.addEventListener("click", () => {
    root.dataset.theme = now() === "dark" ? "light" : "dark";
    localStorage.setItem(NAME, root.dataset.theme);
    show();
  });
  dark.addEventListener("change", show);
  show();
}
