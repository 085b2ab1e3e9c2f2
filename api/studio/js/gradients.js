// What the paths of the map are painted with.

import { s, set } from "./dom.js";

const [OVER, FAINT] = [0.25, 1.5]; // bits beyond what is looked for at which paths begin to fade, and hardly show

/** Colour is distance: everything on the map takes it from one gradient around the middle. */
export function createShift() {
  const stops = [0, 0.16, 0.4, 1].map((offset, i) => s("stop", { offset, class: `shift-${i}` }));
  return s("radialGradient", { id: "shift", gradientUnits: "userSpaceOnUse", cx: 0, cy: 0, r: 1 }, ...stops);
}

/**
 * The mask #reach, under which paths fade beyond the bits that `draw` is called with: overshoot is no discovery.
 */
export function createReach() {
  const stops = [1, 1, 0.12].map((opacity) => s("stop", { "stop-color": "white", "stop-opacity": opacity }));
  const fade = s("radialGradient", { id: "fade", gradientUnits: "userSpaceOnUse", cx: 0, cy: 0 }, ...stops);
  const all = s("rect", { fill: "url(#fade)" });
  const mask = s("mask", { id: "reach", maskUnits: "userSpaceOnUse" }, fade, all);
  /** @param {number} bits @param {number} end bits at the rim @param {number} radius */
  const draw = (bits, end, radius) => {
    const area = { x: -2 * radius, y: -2 * radius, width: 4 * radius, height: 4 * radius };
    set(mask, area);
    set(all, area);
    set(fade, { r: radius });
    set(stops[1], { offset: (bits + OVER) / end });
    set(stops[2], { offset: (bits + FAINT) / end });
  };
  return { mask, draw };
}
