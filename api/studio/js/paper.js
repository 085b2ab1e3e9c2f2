// The dialog that shows a text to copy: a replay block, or a command where the clipboard is out of reach.

import { byId } from "./dom.js";
import { announce } from "./announce.js";

const dialog = byId("paper");
let again = null;

byId("paper-close").addEventListener("click", () => dialog.close());
byId("paper-copy").addEventListener("click", () => copy(byId("paper-text").textContent));
byId("paper-again").addEventListener("click", () => {
  dialog.close();
  again();
});

/** `runAgain`, where given, is offered as a button. */
export function showPaper(title, note, text, runAgain = null) {
  byId("paper-title").textContent = title;
  byId("paper-note").textContent = note;
  byId("paper-text").textContent = text;
  byId("paper-again").hidden = !runAgain;
  again = runAgain;
  dialog.showModal();
}

/** Whether the clipboard took it; browsers give it to secure origins only. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    announce("Copied");
    return true;
  } catch {
    getSelection().selectAllChildren(byId("paper-text"));
    announce("The browser keeps its clipboard closed here. Copy the selected text.");
    return false;
  }
}
