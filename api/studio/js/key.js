// The API key: asked for when the service wants one, kept for this tab alone.

import { byId, hide } from "./dom.js";

const NAME = "rarebit.key";
const NOTE = "Kept in this tab until it is closed.";
let asking = null;

export const authorization = () => (has() ? { Authorization: `Bearer ${sessionStorage.getItem(NAME)}` } : {});
export const has = () => sessionStorage.getItem(NAME) !== null;

/** Resolves when a key has been entered; many who ask at once share the one form. `wrong`: the last one was. */
export function askForKey(wrong) {
  byId("key-note").textContent = wrong ? "That key does not open this service." : NOTE;
  asking ??= new Promise((resolve) => {
    const [form, field, before] = [byId("key"), byId("key-text"), document.activeElement];
    form.hidden = false;
    field.focus();
    form.addEventListener(
      "submit",
      (event) => {
        event.preventDefault();
        sessionStorage.setItem(NAME, field.value.trim());
        field.value = "";
        hide(form, true, before);
        byId("key-note").textContent = NOTE;
        asking = null;
        resolve();
      },
      { once: true },
    );
  });
  return asking;
}
