// The map of a concept: the ordinary as a cloud in the middle, each trial as a path outward, pictures where they
// were found.

/** @import { Box } from "./arrange.js" */
/** @import { Polar, XY } from "./polar.js" */
/** @import { Trial } from "./run.js" */
import { arrangePictures, arrangeWords } from "./arrange.js";
import { each, s, set } from "./dom.js";
import { createReach, createShift } from "./gradients.js";
import { createKnob } from "./knob.js";
import { curve, lawOfBits, path, place, rim } from "./polar.js";
import { bits, number, odds, rarityWord } from "./words.js";

const RINGS = [5, 10, 15, 20, 25, 30];
const MARGIN = 22;
const WORDY = 40; // pixels from ring to ring from which on words have room between them
const DROP = 18; // pixels from a ring's number to its word
const HEAD = 4; // pixels of the circle where a trial is

const CLOUD = lawOfBits(300);

/** @typedef {Polar & { url: string, final?: boolean, weak?: boolean, output?: number }} Picture */
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
  const [layers, shift, reach] = [createLayers(), createShift(), createReach()];
  /** @type {View} */
  let view = { dial: 10, trials: [], pictures: [] };
  const svg = s("svg", { role: "img" }, s("defs", {}, shift, reach.mask), ...Object.values(layers));
  const begun = () => {
    const end = rim(view.dial, view.target ?? 0); // the scale goes on as the drag began
    return (/** @type {number} */ share) => turned(Math.round(2 * end * share) / 2);
  };
  const knob = createKnob(svg, begun, MARGIN);
  set(layers.trails, { mask: "url(#reach)" });
  svg.append(knob);
  host.append(svg);
  let size = 0;
  const redraw = () => {
    if (!size) return;
    const [end, radius] = [rim(view.dial, view.target ?? 0), size / 2 - MARGIN];
    set(shift, { r: radius });
    reach.draw(furthest(view), end, radius);
    set(svg, { viewBox: `${-size / 2} ${-size / 2} ${size} ${size}` });
    draw(svg, layers, knob, view, end, radius);
  };
  new ResizeObserver(([{ contentRect }]) => {
    size = Math.round(contentRect.width);
    redraw();
  }).observe(host);

  return (/** @type {Partial<View>} */ next) => {
    view = { ...view, ...next };
    redraw();
  };
}

/**
 * How far out is what was looked for, or the furthest that was found.
 * @param {View} view
 */
const furthest = ({ dial, target = dial, pictures }) =>
  Math.max(target, ...pictures.filter((one) => one.final).map((one) => one.bits));

/**
 * @param {SVGElement} svg
 * @param {Layers} layers
 * @param {SVGElement} knob
 * @param {View} view
 * @param {number} end bits at the rim
 * @param {number} radius
 */
function draw(svg, layers, knob, { dial, target, baseline, trials, pictures, lit }, end, radius) {
  const at = (/** @type {Polar} */ point) => place(point, radius, end);
  /** @type {Scale} */
  const scale = (value) => (Math.min(value, end) / end) * radius;
  set(svg, { "aria-label": summary(target ?? dial, trials) });

  drawAims(layers.aims, dial, target, scale);
  move(knob, [scale(dial), 0]);
  drawCloud(layers.cloud, baseline, at);
  drawTrials(layers, trials, at);
  drawRings(layers, end, scale, drawPictures(layers, pictures, at, scale, radius));
  point(svg, [layers.trails, layers.pictures], lit);
}

/** @param {Layers} layers @param {number} end @param {Scale} scale @param {Box[]} taken */
function drawRings({ rings, words }, end, scale, taken) {
  const values = RINGS.filter((ring) => ring <= end);
  each(rings, "circle", values, (ring, value) => void set(ring, { r: scale(value) }));
  const named = scale(RINGS[0]) < WORDY ? [] : values.filter((value) => value <= 20);
  const labels = [
    ...values.map((value) => ({ radius: scale(value), text: number(value), class: "bits" })),
    ...values.map((value) => ({ radius: scale(value), text: odds(value), class: "odds", down: true })),
    ...named.map((value) => ({ radius: scale(value), text: rarityWord(value - 2.5), class: "word", drop: DROP })),
  ];
  each(words, "text", arrangeWords(labels, taken), (label, { x, y, text, class: kind }) => {
    set(label, { x, y, class: kind }).textContent = text;
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
    set(head, { r: HEAD, cx, cy, class: state });
  });
}

/**
 * Answers with what words are to leave free: them, and where they were found.
 * @param {Layers} layers
 * @param {Picture[]} pictures
 * @param {(point: Polar) => XY} at
 * @param {Scale} scale
 * @param {number} radius
 * @returns {Box[]}
 */
function drawPictures({ links, pictures: layer }, pictures, at, scale, radius) {
  const found = pictures.map(({ bits, angle }) => ({ radius: scale(bits), angle }));
  const { side, middles } = arrangePictures(found, radius, MARGIN);
  each(links, "path", pictures, (line, picture, i) => void set(line, { d: path([at(picture), middles[i]]) }));
  each(layer, "g", pictures, (group, { url, final, weak, output }, i) => {
    if (!group.childElementCount) group.append(s("rect"), s("image"));
    const [frame, image] = group.children;
    const kind = final ? "found" : "preview";
    move(set(group, { class: weak ? `${kind} weak` : kind, "data-output": output }), middles[i]);
    set(frame, box(side));
    set(image, { ...box(0.88 * side), href: url });
  });
  const [points, edge] = [pictures.filter((picture) => picture.final).map(at), 3 * HEAD];
  return [
    ...middles.map(([x, y]) => ({ x, y, width: side, height: side })),
    ...points.map(([x, y]) => ({ x, y, width: edge, height: edge })),
  ];
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

/** @param {number} target @param {Trial[]} trials */
function summary(target, trials) {
  const ring = `Map of the concept, the ring at ${bits(target)}`;
  if (!trials.length) return `${ring}.`;
  const arrived = trials.filter((trial) => trial.state === "arrived").length;
  const furthest = Math.max(...trials.map((trial) => trial.bits));
  return `${ring}: ${trials.length} trials, ${arrived} arrived, the furthest at ${bits(furthest)}.`;
}
