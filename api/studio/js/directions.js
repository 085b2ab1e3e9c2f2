// What to lean toward and what to stay away from: words and pictures, as chips with a way to take each back.

import { byId, h } from "./dom.js";
import { lookOf } from "./pictures.js";

/** The list of one field, "toward" or "avoid". */
export function createDirections(name) {
  const [input, list] = [byId(name), byId(`${name}-list`)];
  let chosen = [];
  const show = () => list.replaceChildren(...chosen.map((direction, index) => chip(direction, () => remove(index))));
  const remove = (index) => {
    chosen = chosen.toSpliced(index, 1);
    show();
    input.focus();
  };
  const take = () => {
    const words = input.value
      .split(",")
      .map((text) => text.trim())
      .filter(Boolean);
    chosen = [...chosen, ...words.map((text) => ({ text }))];
    input.value = "";
    show();
  };
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !input.value.trim()) return;
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
      input.value = "";
      show();
    },
  };
}

function chip(direction, remove) {
  const name = direction.text ?? `image ${Number(direction.output.split("/")[1]) + 1} of another run`;
  const look = direction.output && lookOf(direction.output);
  const picture = look ? h("img", { src: look, alt: "" }) : null;
  const text = look ? "this image" : name;
  const once = (event) => event.detail < 2 && remove(); // the next chip moves under a double click
  return h(
    "li",
    {},
    picture,
    h("span", { text }),
    h("button", { type: "button", "aria-label": `Remove ${name}`, text: "×", on: { click: once } }),
  );
}
