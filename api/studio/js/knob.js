// The handle of the dial's ring on the map. Keys turn the range input instead.

import { byId, changed, s } from "./dom.js";

const [SIZE, GRIP] = [9, 22]; // pixels: what is seen, and what a finger finds

/**
 * Calls `turned` with the share of the way from the middle of `svg` to its edge, less `margin`, to which it is dragged.
 * @param {SVGElement} svg
 * @param {() => (share: number) => void} begun gives what is called as the drag goes on
 * @param {number} margin pixels
 */
export function createKnob(svg, begun, margin) {
  const knob = s("g", { class: "knob" }, s("circle", { class: "grip", r: GRIP }), s("circle", { r: SIZE }));
  let turned = begun();
  knob.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    knob.setPointerCapture(event.pointerId);
    turned = begun();
  });
  knob.addEventListener("pointermove", (event) => {
    if (!knob.hasPointerCapture(event.pointerId)) return;
    const { left, top, width, height } = svg.getBoundingClientRect();
    const distance = Math.hypot(event.clientX - left - width / 2, event.clientY - top - height / 2);
    turned(distance / (width / 2 - margin));
  });
  knob.addEventListener("lostpointercapture", () => changed(byId("bits")));
  return knob;
}
