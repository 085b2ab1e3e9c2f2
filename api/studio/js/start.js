// The picture to start from, if there is one, and how far to go from it.

/** @import { Accepted } from "./api.js" */
import { chip } from "./chip.js";
import { byId, changed, hide, input } from "./dom.js";
import { lookOf } from "./pictures.js";

const STRENGTH = 0.5; // what the service does unless it is told

/** @typedef {NonNullable<Accepted["image"]>} Start */

/** Hidden until a picture is chosen. */
export function createStart() {
  const [field, list] = [byId("start"), byId("start-list")];
  /** @type {Start | null} */
  let chosen = null;
  /** @param {Start | null} start */
  const choose = (start) => {
    chosen = start;
    hide(field, !start, input("concept"));
    list.replaceChildren(...(start ? [shown(start)] : []));
  };
  /** @param {Start} start */
  const shown = (start) => {
    const slider = {
      label: "How far from it: 0 is the same with other noise, 1 only its family",
      max: 1,
      value: start.strength,
      pointer: "/image",
      /** @param {number} strength */
      moved: (strength) => (chosen = { ...start, strength }),
    };
    return chip(nameOf(start), start.output ? lookOf(start.output) : undefined, slider, () => {
      choose(null);
      changed(field);
    });
  };
  return {
    get picture() {
      return chosen;
    },
    /** @param {Accepted["image"]} picture */
    set picture(picture) {
      choose(picture);
    },
    /** @param {string} output */
    vary(output) {
      choose({ upload: null, output, strength: STRENGTH });
      changed(field);
      field.scrollIntoView({ block: "nearest" });
      list.querySelector("input")?.focus({ preventScroll: true });
    },
  };
}

/** @param {Start} start */
const nameOf = ({ output }) => (output ? `image ${Number(output.split("/")[1]) + 1} of another run` : "an uploaded picture");
