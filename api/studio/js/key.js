// The API key: asked for when the service wants one, kept for this tab alone.

import { byId, hide, input } from "./dom.js";

const NAME = "rarebit.key";
const NOTE = "Kept in this tab until it is closed.";
/** @type {Promise<void> | null} */
let asking = null;

/** @returns {{ Authorization?: string }} */

export const authorization = () => (has() ? { Authorization: `Bearer ${sessionStorage.getItem(NAME)}` } : {});
export const has = () => sessionStorage.getItem(NAME) !== null;

/**
 * Resolves when a key has been entered; many who ask at once share the one form.
 * @param {boolean} wrong the last one was
 */
export function askForKey(wrong) {
  byId("key-note").textContent = wrong ? "That key does not open this service." : NOTE;
  asking ??= new Promise((resolve) => {
    const [form, field, before] = [byId("key"), input("key-text"), document.activeElement];
    form.hidden = false;
    field.focus();
    form.addEventListener(
      "submit",
      (event) => {
        event.preventDefault();
        sessionStorage.setItem(NAME, field.value.trim());
        field.value = "";
        hide(form, true, before instanceof HTMLElement ? before : byId("concept"));
        byId("key-note").textContent = NOTE;
        asking = null;
        resolve();
      },
      { once: true },
    );
  });
  return asking;
}
