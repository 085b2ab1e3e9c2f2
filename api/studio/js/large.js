// The dialog that shows a picture by itself, at its own pixels as far as there is room.

import { byId, set } from "./dom.js";

const dialog = byId("large");

byId("large-close").addEventListener("click", () => dialog.close());

/** Shows the image of a tile with what its `alt` says of it. */
export function showLarge({ src, alt, naturalWidth: width, naturalHeight: height }) {
  set(byId("large-picture"), { src, width, height });
  byId("large-note").textContent = alt;
  dialog.showModal();
}
