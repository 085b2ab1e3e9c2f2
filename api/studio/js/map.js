// The map of a concept: the ordinary as a cloud in the middle, each trial as a path outward, pictures where they
// were found.

/** @import { Polar, XY } from "./polar.js" */
/** @import { Trial } from "./run.js" */
import { each, s, set } from "./dom.js";
import { curve, lawOfBits, path, place, rim, spread } from "./polar.js";
import { bits, number, odds, rarityWord } from "./words.js";

const RINGS = [5, 10, 15, 20, 25, 30];
const MARGIN = 22;
const FEW = 6; // pictures up to which they are drawn large
const CLOUD = lawOfBits(300);

/** @typedef {Polar & { url: string, final?: boolean, output?: number }} Picture */
/**
 * @typedef {object} View
 * @property {number} dial
 * @property {number} [target]
 * @property {Polar[]} [baseline]
 * @property {Trial[]} trials
 * @property {Picture[]} pictures
 * @property {number | null} [lit] the output that is pointed at
 */
/** @typedef {(value: number) => number} Scale */
/** @typedef {ReturnType<typeof createLayers>} Layers */

/** From back to front. */
function createLayers() {
  const layer = (/** @type {string} */ name) => s("g", { class: name });
  return {
    rings: layer("rings"),
    cloud: layer("cloud"),
    trails: layer("trails"),
    aims: layer("aims"),
    words: layer("words"),
    heads: layer("heads"),
    links: layer("links"),
    pictures: layer("pictures"),
  };
}

/**
 * Draws into `host`; `turned` is called when somebody drags the dial's ring.
 * @param {HTMLElement} host
 * @param {(bits: number) => void} turned
 */
export function createMap(host, turned) {
  const [layers, colour] = [createLayers(), shift()];
  const knob = s("circle", { class: "knob", r: 9 });
  const svg = s("svg", { role: "img" }, s("defs", {}, colour), ...Object.values(layers), knob);
  host.append(svg);
  /** @type {View} */
  let view = { dial: 10, trials: [], pictures: [] };
  let size = 0;
  const redraw = () => {
    if (!size) return;
    set(colour, { r: size / 2 - MARGIN });
    draw(svg, layers, knob, view, size);
  };
  new ResizeObserver(([{ contentRect }]) => {
    size = Math.round(contentRect.width);
    redraw();
  }).observe(host);
  drag(svg, knob, () => rim(view.dial, view.target ?? 0), turned);
  return (/** @type {Partial<View>} */ next) => {
    view = { ...view, ...next };
    redraw();
  };
}

/** @param {SVGElement} svg @param {Layers} layers @param {SVGElement} knob @param {View} view @param {number} size */
function draw(svg, layers, knob, { dial, target, baseline, trials, pictures, lit }, size) {
  const [end, radius] = [rim(dial, target ?? 0), size / 2 - MARGIN];
  const at = (/** @type {Polar} */ point) => place(point, radius, end);
  /** @type {Scale} */
  const scale = (value) => (Math.min(value, end) / end) * radius;
  set(svg, { viewBox: `${-size / 2} ${-size / 2} ${size} ${size}`, "aria-label": summary(target ?? dial, trials) });

  drawRings(layers, end, scale);
  drawAims(layers.aims, dial, target, scale);
  move(knob, [scale(dial), 0]);
  drawCloud(layers.cloud, baseline, at);
  drawTrials(layers, trials, at);
  drawPictures(layers, pictures, at, scale, radius);
  point(svg, [layers.trails, layers.pictures], lit);
}

/** @param {Layers} layers @param {number} end @param {Scale} scale */
function drawRings({ rings, words }, end, scale) {
  const values = RINGS.filter((ring) => ring <= end);
  each(rings, "circle", values, (ring, value) => set(ring, { r: scale(value) }));
  const labels = values.flatMap((value) => [
    { y: -scale(value), text: number(value), class: "bits" },
    { y: scale(value), text: odds(value), class: "odds" },
    { y: -scale(value - 1.6), text: value > 20 ? "" : rarityWord(value - 2.5), class: "word" },
  ]);
  each(words, "text", labels, (label, { text, ...place }) => {
    set(label, place).textContent = text;
  });
}

/** @param {SVGElement} layer @param {number} dial @param {number | undefined} target @param {Scale} scale */
function drawAims(layer, dial, target, scale) {
  const aims = [{ bits: dial, class: "dial" }, ...(target === undefined ? [] : [{ bits: target, class: "target" }])];
  each(layer, "circle", aims, (ring, aim) => set(ring, { r: scale(aim.bits), class: aim.class }));
}

/** @param {SVGElement} layer @param {Polar[] | undefined} baseline @param {(point: Polar) => XY} at */
function drawCloud(layer, baseline, at) {
  each(layer, "circle", baseline ?? CLOUD, (dot, sample) => move(set(dot, { r: 1.5 }), at(sample)));
  layer.classList.toggle("assumed", !baseline);
}

/** @param {Layers} layers @param {Trial[]} trials @param {(point: Polar) => XY} at */
function drawTrials({ trails, heads }, trials, at) {
  each(trails, "path", trials, (line, { trail, state, output }) =>
    set(line, { d: curve(trail.map(at)), class: state, "data-output": output }),
  );
  each(heads, "circle", trials, (head, { trail, state }) => {
    const [cx, cy] = at(trail.at(-1) ?? { bits: 0, angle: 0 }); // no transform: the gradient would move with it
    set(head, { r: 4, cx, cy, class: state });
  });
}

/**
 * Just outside of where they were found, moved apart around the ring.
 * @param {Layers} layers
 * @param {Picture[]} pictures
 * @param {(point: Polar) => XY} at
 * @param {Scale} scale
 * @param {number} radius
 */
function drawPictures({ links, pictures: layer }, pictures, at, scale, radius) {
  const side = Math.min(60, radius * (pictures.length > FEW ? 0.15 : 0.22));
  const out = side * 0.8;
  const furthest = Math.max(...pictures.map((picture) => picture.bits), 1);
  const angles = pictures.map((picture) => picture.angle);
  const apart = spread(angles, (1.3 * side) / (scale(furthest) + out));
  /** @type {XY[]} */
  const ends = pictures.map((picture, i) => {
    const [x, y] = at({ ...picture, angle: apart[i] });
    const length = Math.hypot(x, y) || 1;
    return [x * (1 + out / length), y * (1 + out / length)];
  });
  each(links, "path", pictures, (line, picture, i) => set(line, { d: path([at(picture), ends[i]]) }));
  each(layer, "g", pictures, (group, { url, final, output }, i) => {
    if (!group.childElementCount) group.append(s("rect"), s("image"));
    const [frame, image] = group.children;
    move(set(group, { class: final ? "found" : "preview", "data-output": output }), ends[i]);
    set(frame, box(side));
    set(image, { ...box(0.88 * side), href: url });
  });
}

/**
 * Brings out what belongs to the output that is pointed at, if any is.
 * @param {SVGElement} svg
 * @param {SVGElement[]} layers
 * @param {number | null} [lit]
 */
function point(svg, layers, lit = null) {
  svg.classList.toggle("pointing", lit !== null);
  for (const child of layers.flatMap((layer) => [...layer.children]))
    child.classList.toggle("lit", child.getAttribute("data-output") === String(lit));
}

/** @param {number} side */
const box = (side) => ({ x: -side / 2, y: -side / 2, width: side, height: side, rx: 6 });

/** @param {SVGElement} element @param {XY} place */
function move(element, [x, y]) {
  element.style.transform = `translate(${x.toFixed(1)}px, ${y.toFixed(1)}px)`;
}

/** Colour is distance: everything on the map takes it from one gradient around the middle. */
function shift() {
  const stops = [0, 0.16, 0.4, 1].map((offset, i) => s("stop", { offset, class: `shift-${i}` }));
  return s("radialGradient", { id: "shift", gradientUnits: "userSpaceOnUse", cx: 0, cy: 0, r: 1 }, ...stops);
}

/**
 * Turns the dial to where the knob is dragged, on the scale `end()` that the drag began with.
 * @param {SVGElement} svg
 * @param {SVGElement} knob
 * @param {() => number} end
 * @param {(bits: number) => void} turned
 */
function drag(svg, knob, end, turned) {
  let bits = 0;
  knob.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    knob.setPointerCapture(event.pointerId);
    bits = end();
  });
  knob.addEventListener("pointermove", (event) => {
    if (!knob.hasPointerCapture(event.pointerId)) return;
    const { left, top, width, height } = svg.getBoundingClientRect();
    const distance = Math.hypot(event.clientX - left - width / 2, event.clientY - top - height / 2);
    turned(Math.round((2 * bits * distance) / (width / 2 - MARGIN)) / 2);
  });
}

/** @param {number} target @param {Trial[]} trials */
function summary(target, trials) {
  const ring = `Map of the concept, the ring at ${bits(target)}`;
  if (!trials.length) return `${ring}.`;
  const arrived = trials.filter((trial) => trial.state === "arrived").length;
  const furthest = Math.max(...trials.map((trial) => trial.bits));
  return `${ring}: ${trials.length} trials, ${arrived} arrived, the furthest at ${bits(furthest)}.`;
}
