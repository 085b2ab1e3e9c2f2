// One thing that was chosen, with how much of it and a way to take it back.

import { h } from "./dom.js";

/** @typedef {{ label: string, max: number, value: number, pointer?: string, moved: (value: number) => void }} Slider */

/**
 * @param {string} name
 * @param {string | undefined} look where its picture is, if there is one to be seen
 * @param {Slider} slider
 * @param {() => void} remove
 */
export function chip(name, look, { label, max, value, pointer, moved }, remove) {
  const shown = h("output", { text: String(value) });
  const range = h("input", { type: "range", min: 0, max, step: 0.05, "aria-label": label, "data-pointer": pointer });
  range.value = String(value);
  range.addEventListener("input", () => {
    shown.textContent = range.value;
    moved(Number(range.value));
  });
  /** @param {MouseEvent} event */
  const once = (event) => void (event.detail < 2 && remove()); // the next chip moves under a double click
  return h(
    "li",
    {},
    look ? h("img", { src: look, alt: "" }) : null,
    h("span", { text: look ? "this image" : name, title: look ? null : name }),
    range,
    shown,
    h("button", { type: "button", "aria-label": `Remove ${name}`, text: "×", on: { click: once } }),
  );
}
