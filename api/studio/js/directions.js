// What to lean toward and what to stay away from: words and pictures, as chips with the weight of each.

/** @import { Direction } from "rarebit" */
import { chip } from "./chip.js";
import { byId, changed, input } from "./dom.js";
import { lookOf } from "./pictures.js";
import { directionName } from "./words.js";

/**
 * The list of one field.
 * @param {"toward" | "avoid"} name
 */
export function createDirections(name) {
  const [field, list] = [input(name), byId(`${name}-list`)];
  /** @type {Direction[]} */
  let chosen = [];
  /** @param {Direction[]} directions */
  const choose = (directions) => {
    chosen = directions;
    list.replaceChildren(...chosen.map(shown));
  };
  /** @param {Direction} direction @param {number} index */
  const shown = (direction, index) => {
    const named = directionName(direction);
    const slider = {
      label: `How much ${named} counts`,
      max: 2,
      value: direction.weight ?? 1,
      /** @param {number} weight */
      moved: (weight) => (chosen = chosen.with(index, { ...chosen[index], weight })),
    };
    return chip(named, direction.output ? lookOf(direction.output) : undefined, slider, () => remove(index));
  };
  /** @param {number} index */
  const remove = (index) => {
    choose(chosen.toSpliced(index, 1));
    field.focus();
    changed(list);
  };
  const take = () => {
    const words = field.value
      .split(",")
      .map((text) => text.trim())
      .filter(Boolean);
    field.value = "";
    if (!words.length) return;
    choose([...chosen, ...words.map((text) => ({ text, output: null, weight: 1 }))]);
    changed(list);
  };
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !field.value.trim()) return;
    event.preventDefault();
    take();
  });
  return {
    /** Words become chips that were typed and not entered. */
    take,
    get all() {
      return chosen;
    },
    set all(directions) {
      choose(directions);
    },
    /** @param {string} output */
    add: (output) => choose([...without(chosen, output), { text: null, output, weight: 1 }]),
    /** @param {string} output */
    drop: (output) => choose(without(chosen, output)),
  };
}

/** @param {Direction[]} directions @param {string} output */
const without = (directions, output) => directions.filter((one) => one.output !== output);
