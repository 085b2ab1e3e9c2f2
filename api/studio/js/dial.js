// The dial: how rare, in words, bits and odds. A range input under it all, so that every way of input works.

import { byId } from "./dom.js";
import { number, odds, rarityWord } from "./words.js";

const RED = 10; // bits from which on the dial has the full colour

/** Calls `changed(bits)` at once and whenever the dial turns. */
export function createDial(changed) {
  const input = byId("bits");
  const show = () => {
    const bits = Number(input.value);
    const [word, chance] = [rarityWord(bits), odds(bits)];
    input.setAttribute("aria-valuetext", `${word}, ${number(bits)} bits, ${chance} plain samples`);
    byId("rare-word").textContent = word;
    byId("rare-odds").textContent = `${number(bits)} bits: as rare as ${chance} plain samples`;
    document.documentElement.style.setProperty("--dial", Math.min(1, bits / RED));
    changed(bits);
  };
  input.addEventListener("input", show);
  show();
  return {
    get bits() {
      return Number(input.value);
    },
    set bits(value) {
      input.value = value;
      show();
    },
  };
}
