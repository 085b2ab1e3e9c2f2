// The dialog that shows a text to copy: a replay block, or a command where the clipboard is out of reach.

import { announce } from "./announce.js";
import { byId, dialog } from "./dom.js";

const paper = dialog("paper");
let again = () => {};

byId("paper-close").addEventListener("click", () => paper.close());
byId("paper-copy").addEventListener("click", () => copy(byId("paper-text").textContent));
byId("paper-again").addEventListener("click", () => {
  paper.close();
  again();
});

/**
 * `runAgain`, where given, is offered as a button.
 * @param {string} title
 * @param {string} note
 * @param {string} text
 * @param {() => void} [runAgain]
 */
export function showPaper(title, note, text, runAgain) {
  byId("paper-title").textContent = title;
  byId("paper-note").textContent = note;
  byId("paper-text").textContent = text;
  byId("paper-again").hidden = !runAgain;
  if (runAgain) again = runAgain;
  paper.showModal();
}

/**
 * Whether the clipboard took it; browsers give it to secure origins only.
 * @param {string} text
 */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    announce("Copied");
    return true;
  } catch {
    getSelection()?.selectAllChildren(byId("paper-text"));
    announce("The browser keeps its clipboard closed here. Copy the selected text.");
    return false;
  }
}
