// Where pictures and words stand on the map, so that none covers another.

/** @import { XY } from "./polar.js" */
import { spread } from "./polar.js";

const FEW = 6; // pictures up to which they are drawn large
const APART = 1.6; // edges between the middles of two squares that do not touch, whichever way they lie
const TILTS = [0, 15, -15, 30, -30, 45, -45, 60, -60]; // degrees off the vertical, the best first
const [LETTER, LINE, HALO] = [6.8, 14, 14]; // pixels of a word, and around it

/** @typedef {{ x: number, y: number, width: number, height: number }} Box around its middle */
/** @typedef {{ radius: number, text: string, class: string, down?: boolean, drop?: number }} Word so far out; `drop` lower */

/**
 * Pictures just outside of where they were found, and moved around the ring: their edge and their middles.
 * @param {{ radius: number, angle: number }[]} found
 * @param {number} radius of the map
 * @param {number} margin pixels between its rim and the edge of the drawing
 * @returns {{ side: number, middles: XY[] }}
 */
export function arrangePictures(found, radius, margin) {
  const side = Math.min(60, radius * (found.length > FEW ? 0.15 : 0.22));
  const [least, most] = [(found.length * APART * side) / (2 * Math.PI), radius + margin - side / 2];
  const radii = found.map((one) => Math.min(most, Math.max(least, one.radius + 0.8 * side)));
  const angles = found.map((one) => one.angle);
  const apart = spread(angles, (APART * side) / Math.min(...radii));
  return { side, middles: radii.map((r, i) => [r * Math.cos(apart[i]), -r * Math.sin(apart[i])]) };
}

/**
 * Words along one line upward and one down, each tilted until it meets as little as can be; what it meets still is "".
 * @param {Word[]} words
 * @param {Box[]} taken
 * @returns {(Word & Box)[]}
 */
export function arrangeWords(words, taken) {
  return [false, true].flatMap((down) => {
    const line = words.filter((word) => Boolean(word.down) === down);
    const tries = TILTS.map((tilt) => line.map((word) => placed(word, (tilt * Math.PI) / 180)));
    const meeting = tries.map((boxes) => boxes.filter((box) => meets(box, taken)).length);
    const best = tries[meeting.indexOf(Math.min(...meeting))];
    return best.map((box) => (meets(box, taken) ? { ...box, text: "" } : box));
  });
}

/** @param {Word} word @param {number} tilt */
function placed(word, tilt) {
  const r = word.down ? -word.radius : word.radius;
  const [x, y] = [r * Math.sin(tilt), (word.drop ?? 0) - r * Math.cos(tilt)];
  return { ...word, x, y, width: LETTER * word.text.length + HALO, height: LINE + HALO };
}

/** @param {Box} box @param {Box[]} taken */
const meets = (box, taken) => taken.some((other) => overlap(box, other));

/** @param {Box} a @param {Box} b */
const overlap = (a, b) => 2 * Math.abs(a.x - b.x) < a.width + b.width && 2 * Math.abs(a.y - b.y) < a.height + b.height;
