// The form's fields as one value: as what is asked for, and as a state that can be brought back.

/** @import { Direction } from "rarebit" */
/** @import { Accepted } from "./api.js" */
/** @import { Start } from "./start.js" */
import { createDirections } from "./directions.js";
import { byId, input } from "./dom.js";
import { createStart } from "./start.js";
import { targetBits } from "./words.js";

const TEXTS = ["concept", "count", "steps", "ladder", "seed", "mode", "variety", "toward", "avoid"];

/**
 * @typedef {object} State
 * @property {Record<string, string>} texts by the ids of what they stand in
 * @property {number} bits
 * @property {string[]} space
 * @property {Direction[]} toward
 * @property {Direction[]} avoid
 * @property {Start | null} picture
 */

/** @param {{ bits: number }} dial */
export function createFields(dial) {
  const [directions, start] = [{ toward: createDirections("toward"), avoid: createDirections("avoid") }, createStart()];
  /** @type {HTMLInputElement[]} */
  const spaces = Array.from(byId("ask").querySelectorAll("[name=space]"));
  const space = () => spaces.filter((box) => box.checked).map((box) => box.value);
  /** @param {State} state */
  const restore = ({ texts, bits, space, toward, avoid, picture }) => {
    for (const [id, text] of Object.entries(texts)) control(id).value = text;
    for (const box of spaces) box.checked = space.includes(box.value);
    dial.bits = bits;
    [directions.toward.all, directions.avoid.all, start.picture] = [toward, avoid, picture];
  };
  return {
    vary: start.vary,
    restore,
    /** @returns {State} */
    state: () => ({
      texts: Object.fromEntries(TEXTS.map((id) => [id, control(id).value])),
      bits: dial.bits,
      space: space(),
      toward: directions.toward.all,
      avoid: directions.avoid.all,
      picture: start.picture,
    }),
    /** As it was typed: the service checks it. Words count that were not entered. */
    read() {
      directions.toward.take();
      directions.avoid.take();
      return {
        concept: value("concept"),
        count: whole("count"),
        rarity: value("ladder") ? { ladder: value("ladder").split(",").map(decimal) } : { bits: dial.bits },
        steps: whole("steps"),
        seed: value("seed") === "" ? null : whole("seed"),
        mode: value("mode"),
        space: space(),
        toward: directions.toward.all,
        avoid: directions.avoid.all,
        image: start.picture,
        variety: Number(value("variety")),
      };
    },
    /** @param {Accepted} request */
    fill: (request) => restore(stateOf(request)),
    /**
     * Adds the output to one list, and takes it out of the other.
     * @param {"toward" | "avoid"} way
     * @param {string} output
     */
    steer(way, output) {
      directions[way === "toward" ? "avoid" : "toward"].drop(output);
      directions[way].add(output);
    },
  };
}

/**
 * The same again with fresh noise.
 * @param {Accepted} request
 * @returns {State}
 */
function stateOf(request) {
  const { concept, mode, rarity, space, toward, avoid, image: picture } = request;
  const [count, steps, variety] = [request.count, request.steps, request.variety].map(String);
  const ladder = rarity.ladder?.join(", ") ?? "";
  return {
    texts: { concept, count, steps, ladder, seed: "", mode, variety, toward: "", avoid: "" },
    bits: Math.round(2 * targetBits(request)) / 2,
    space,
    toward,
    avoid,
    picture,
  };
}

/** @param {string} id */
const control = (id) => (id === "mode" ? byId(id, HTMLSelectElement) : input(id));

/** @param {string} id */
const value = (id) => control(id).value.trim();

/**
 * A number where there is one; what else was typed goes to the service, which says what is wrong with it.
 * @param {string} id
 */
function whole(id) {
  const text = value(id);
  return /^-?\d+$/.test(text) ? Number(text) : text;
}

/**
 * The same of a number with or without a point.
 * @param {string} text
 */
const decimal = (text) => (/^\s*\d+(\.\d+)?\s*$/.test(text) ? Number(text) : text.trim());
