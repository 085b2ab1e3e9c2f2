// What is said by the way: to everybody for a moment, or to screen readers alone.

import { byId } from "./dom.js";

const SHOWN_MS = 4000;
let timer = 0;

/** @param {string} text */
export function announce(text) {
  const place = byId("say");
  place.textContent = text;
  place.classList.add("shown");
  clearTimeout(timer);
  timer = setTimeout(() => place.classList.remove("shown"), SHOWN_MS);
}

/**
 * For what the page shows anyway.
 * @param {string} text
 */
export function whisper(text) {
  byId("say").classList.remove("shown");
  byId("say").textContent = text;
}
