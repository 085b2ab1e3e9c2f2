// What to lean toward and what to stay away from: words and pictures, as chips with the weight of each.

/** @import { Direction } from "rarebit" */
import { chip } from "./chip.js";
import { byId, input } from "./dom.js";
import { lookOf } from "./pictures.js";

/**
 * The list of one field.
 * @param {"toward" | "avoid"} name
 */
export function createDirections(name) {
  const [field, list] = [input(name), byId(`${name}-list`)];
  /** @type {Direction[]} */
  let chosen = [];
  const show = () => list.replaceChildren(...chosen.map(shown));
  /** @param {Direction} direction @param {number} index */
  const shown = ({ text, output, weight }, index) => {
    const named = text ?? `image ${Number(output?.split("/")[1]) + 1} of another run`;
    const slider = {
      label: `How much ${named} counts`,
      max: 2,
      value: weight ?? 1,
      /** @param {number} value */
      changed: (value) => (chosen = chosen.with(index, { ...chosen[index], weight: value })),
    };
    return chip(named, output ? lookOf(output) : undefined, slider, () => remove(index));
  };
  /** @param {number} index */
  const remove = (index) => {
    chosen = chosen.toSpliced(index, 1);
    show();
    field.focus();
  };
  const take = () => {
    const words = field.value
      .split(",")
      .map((text) => text.trim())
      .filter(Boolean);
    chosen = [...chosen, ...words.map((text) => ({ text }))];
    field.value = "";
    show();
  };
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !field.value.trim()) return;
    event.preventDefault();
    take();
  });
  return {
    get all() {
      take();
      return chosen;
    },
    set all(directions) {
      chosen = directions;
      field.value = "";
      show();
    },
  };
}
