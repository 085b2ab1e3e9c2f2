// What to lean toward and what to stay away from: words and pictures, as chips with a way to take each back.

/** @import { Direction } from "rarebit" */
import { byId, h, input } from "./dom.js";
import { lookOf } from "./pictures.js";

/**
 * The list of one field.
 * @param {"toward" | "avoid"} name
 */
export function createDirections(name) {
  const [field, list] = [input(name), byId(`${name}-list`)];
  /** @type {Direction[]} */
  let chosen = [];
  const show = () => list.replaceChildren(...chosen.map((direction, index) => chip(direction, () => remove(index))));
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

/** @param {Direction} direction @param {() => void} remove */
function chip({ text: word, output }, remove) {
  const name = word ?? `image ${Number(output?.split("/")[1]) + 1} of another run`;
  const look = output && lookOf(output);
  const picture = look ? h("img", { src: look, alt: "" }) : null;
  const text = look ? "this image" : name;
  /** @param {MouseEvent} event */
  const once = (event) => void (event.detail < 2 && remove()); // the next chip moves under a double click
  return h(
    "li",
    {},
    picture,
    h("span", { text }),
    h("button", { type: "button", "aria-label": `Remove ${name}`, text: "×", on: { click: once } }),
  );
}
