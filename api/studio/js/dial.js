// The dial: how rare, in words, bits and odds. A range input under it all, so that every way of input works.

import { byId, input } from "./dom.js";
import { number, odds, rarityWord, redness } from "./words.js";

/**
 * Calls `changed` at once and whenever the dial turns.
 * @param {(bits: number) => void} changed
 */
export function createDial(changed) {
  const range = input("bits");
  const show = () => {
    const bits = Number(range.value);
    const [word, chance] = [rarityWord(bits), odds(bits)];
    range.setAttribute("aria-valuetext", `${word}, ${number(bits)} bits, ${chance} plain samples`);
    byId("rare-word").textContent = word;
    byId("rare-odds").textContent = `${number(bits)} bits: as rare as ${chance} plain samples`;
    document.documentElement.style.setProperty("--dial", redness(bits));
    changed(bits);
  };
  range.addEventListener("input", show);
  show();
  return {
    get bits() {
      return Number(range.value);
    },
    set bits(value) {
      range.value = String(value);
      show();
    },
  };
}
