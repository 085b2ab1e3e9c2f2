// Undo of the form: each change that is complete can be taken back, by a button or by Ctrl+Z outside of texts.

/** @import { State } from "./fields.js" */
import { whisper } from "./announce.js";
import { byId } from "./dom.js";

const KEPT = 50;
const TEXTS = "input:not([type=range], [type=checkbox])"; // which have an undo of their own

/**
 * Follows the changes of `form`, whose state `read` gives and `restore` brings back.
 * @param {HTMLElement} form
 * @param {() => State} read
 * @param {(state: State) => void} restore
 */
export function createUndo(form, read, restore) {
  const button = byId("undo", HTMLButtonElement);
  let now = read();
  /** @type {State[]} */
  let before = [];
  const note = () => {
    const next = read();
    if (JSON.stringify(next) === JSON.stringify(now)) return;
    before = [...before, now].slice(-KEPT);
    now = next;
    button.disabled = false;
  };
  const undo = () => {
    note();
    const last = before.pop();
    if (!last) return;
    restore((now = last));
    if (!before.length && document.activeElement === button) byId("find").focus({ preventScroll: true });
    button.disabled = !before.length;
    whisper("The last change is taken back.");
  };
  form.addEventListener("change", note);
  button.addEventListener("click", undo);
  addEventListener("keydown", (event) => {
    const { target, key, ctrlKey, metaKey } = event;
    const elsewhere = target instanceof Element && (target.matches(TEXTS) || target.closest("dialog"));
    if (key !== "z" || !(ctrlKey || metaKey) || elsewhere) return;
    event.preventDefault();
    undo();
  });
}
