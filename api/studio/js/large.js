// The dialog that shows a picture by itself, at its own pixels as far as there is room.

import { byId, dialog, set } from "./dom.js";

const large = dialog("large");

byId("large-close").addEventListener("click", () => large.close());

/**
 * Shows the image of a tile with what its `alt` says of it.
 * @param {HTMLImageElement} image
 */
export function showLarge({ src, alt, naturalWidth: width, naturalHeight: height }) {
  set(byId("large-picture"), { src, width, height });
  byId("large-note").textContent = alt;
  large.showModal();
}
