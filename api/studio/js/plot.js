// Rarity against validity, live: one mark per trial, and a strip for those that nobody has looked at yet.

/** @import { XY } from "./polar.js" */
/** @import { Point, Trial } from "./run.js" */
import { each, s, set } from "./dom.js";
import { path, rim } from "./polar.js";
import { VALID, bits, percent } from "./words.js";

const [LEFT, RIGHT, TOP, BOTTOM, STRIP] = [38, 10, 10, 34, 22];
const HEIGHT = 300;
const BASE = HEIGHT - BOTTOM;

/** @typedef {{ target: number, trials: Trial[] }} View */
/** @typedef {(value: number) => number} Scale */

/**
 * Draws into `host` whatever it is called with.
 * @param {HTMLElement} host
 */
export function createPlot(host) {
  const layer = (/** @type {string} */ name) => s("g", { class: name });
  const layers = { axes: layer("axes"), texts: layer("texts"), paths: layer("paths"), marks: layer("marks") };
  const stops = [0, 0.16, 0.4, 1].map((offset, i) => s("stop", { offset, class: `shift-${i}` }));
  const gradient = s("linearGradient", { id: "shift-x", gradientUnits: "userSpaceOnUse", y1: 0, y2: 0 }, ...stops);
  const svg = s("svg", { role: "img" }, s("defs", {}, gradient), ...Object.values(layers));
  host.append(svg);
  /** @type {View | null} */
  let view = null;
  let width = 0;
  const redraw = () => view && width && draw(svg, gradient, layers, view, width);
  new ResizeObserver(([{ contentRect }]) => {
    width = Math.round(contentRect.width);
    redraw();
  }).observe(host);
  return (/** @type {View} */ next) => {
    view = next;
    redraw();
  };
}

/**
 * @param {SVGElement} svg
 * @param {SVGElement} gradient
 * @param {Record<"axes" | "texts" | "paths" | "marks", SVGElement>} layers
 * @param {View} view
 * @param {number} width
 */
function draw(svg, gradient, layers, { target, trials }, width) {
  const end = rim(target);
  /** @type {Scale} */
  const x = (value) => LEFT + (Math.min(value, end) / end) * (width - LEFT - RIGHT);
  /** @param {number | null} validity */
  const y = (validity) => (validity === null ? BASE - 6 : TOP + (1 - validity) * (BASE - TOP - STRIP));
  set(svg, { viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT, "aria-label": summary(trials) });
  set(gradient, { x1: x(0), x2: x(end) });
  drawLines(layers.axes, x, y, width - RIGHT, target);
  drawTexts(layers.texts, x, y, width - RIGHT, end);
  each(layers.paths, "path", trials, (line, { trail, state }) =>
    set(line, {
      d: path(looks(trail).map(({ bits, validity }) => /** @type {XY} */ ([x(bits), y(validity)]))),
      class: state,
    }),
  );
  each(layers.marks, "circle", trials, (mark, { bits, validity, state }) =>
    set(mark, { r: 4, cx: x(bits), cy: y(validity), class: state }),
  );
}

/**
 * The points of a trail at which its picture was looked at: the last of each validity.
 * @param {Point[]} trail
 */
const looks = (trail) => trail.filter(({ validity }, i) => validity !== null && validity !== trail[i + 1]?.validity);

/** @param {SVGElement} layer @param {Scale} x @param {Scale} y @param {number} right @param {number} target */
function drawLines(layer, x, y, right, target) {
  const level = (/** @type {number} */ height) => `M${LEFT} ${height}H${right}`;
  const lines = [
    { d: level(BASE), class: "axis" },
    { d: level(y(0)), class: "grid" },
    { d: level(y(VALID)), class: "limit" },
    { d: level(y(1)), class: "grid" },
    { d: `M${x(target)} ${TOP}V${BASE}`, class: "target" },
  ];
  each(layer, "path", lines, (line, data) => void set(line, data));
}

/** @param {SVGElement} layer @param {Scale} x @param {Scale} y @param {number} right @param {number} end */
function drawTexts(layer, x, y, right, end) {
  const numbers = Array.from({ length: Math.floor(end / 5) + 1 }, (_, i) => 5 * i);
  const texts = [
    ...numbers.map((bits) => ({ x: x(bits), y: BASE + 14, text: String(bits), class: "middle" })),
    ...[1, VALID, 0].map((share) => ({ x: LEFT - 6, y: y(share) + 4, text: percent(share), class: "end" })),
    { x: LEFT + 4, y: y(1) + 13, text: "valid" },
    { x: LEFT, y: HEIGHT - 4, text: "lowest row: validity unknown" },
    { x: right, y: HEIGHT - 4, text: "rarity, bits", class: "end" },
  ];
  each(layer, "text", texts, (element, { text, ...place }) => {
    set(element, place).textContent = text;
  });
}

/** @param {Trial[]} trials */
function summary(trials) {
  const valid = trials.filter((trial) => trial.validity !== null && trial.validity >= VALID);
  const furthest = valid.length ? `, the rarest of them at ${bits(Math.max(...valid.map((trial) => trial.bits)))}` : "";
  return `Rarity against validity: ${trials.length} trials, ${valid.length} seen to be valid${furthest}.`;
}
