// The dialog that shows a picture by itself, at its own pixels as far as there is room, and lets it steer the next run.

import { byId, dialog, set } from "./dom.js";

/** @typedef {(way: "toward" | "avoid") => void} Steer */

const large = dialog("large");
/** @type {Steer | undefined} */
let steered;

byId("large-close").addEventListener("click", () => large.close());
for (const way of /** @type {const} */ (["toward", "avoid"]))
  byId(`large-${way}`).addEventListener("click", () => {
    large.close();
    steered?.(way);
  });

/**
 * Shows the image of a tile with what its `alt` says of it; where it may steer, by `steer`.
 * @param {HTMLImageElement} image
 * @param {Steer} [steer]
 */
export function showLarge({ src, alt, naturalWidth: width, naturalHeight: height }, steer) {
  steered = steer;
  byId("large-toward").hidden = byId("large-avoid").hidden = !steer;
  set(byId("large-picture"), { src, width, height });
  byId("large-note").textContent = alt;
  large.showModal();
}
