// Polar coordinates of the map: the radius is rarity in bits, the angle is where in the concept a sample lies.

/** @typedef {{ bits: number, angle: number }} Polar */
/** @typedef {[x: number, y: number]} XY */

const [USUAL, FAR] = [20.6, 31];

/**
 * Bits at the rim of a map that shows these rarities: it is drawn smaller only for what lies further out.
 * @param {number[]} bits
 */
export const rim = (...bits) => (Math.max(...bits) > 20 ? FAR : USUAL);

/**
 * A point's place, for a map of `radius` pixels around 0,0.
 * @param {Polar} point
 * @param {number} radius
 * @param {number} end bits at the rim
 * @returns {XY}
 */
export function place({ bits, angle }, radius, end) {
  const r = (Math.min(Math.max(bits, 0), end) / end) * radius;
  return [r * Math.cos(angle), -r * Math.sin(angle)];
}

/** @param {XY} point */
const written = ([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`;

/** @param {XY} one @param {XY} other @returns {XY} */
const middle = ([x, y], [x2, y2]) => [(x + x2) / 2, (y + y2) / 2];

/**
 * The data of an SVG path through the points.
 * @param {XY[]} points
 */
export const path = (points) => (points.length ? `M${points.map(written).join("L")}` : "");

/**
 * The same as one bow, through the middle of each stretch: trials leap, an eye follows curves.
 * @param {XY[]} points
 */
export function curve(points) {
  if (points.length < 3) return path(points);
  const bows = points.slice(1, -1).map((point, i) => `Q${written(point)} ${written(middle(point, points[i + 2]))}`);
  return `${path([points[0], middle(points[0], points[1])])}${bows.join("")}L${written(points[points.length - 1])}`;
}

/**
 * The ordinary as bits define it, until it is measured: half of it within 1 bit, half of the rest within 2 …
 * @param {number} count
 * @returns {Polar[]}
 */
export function lawOfBits(count) {
  const golden = Math.PI * (3 - Math.sqrt(5));
  return Array.from({ length: count }, (_, i) => ({
    bits: -Math.log2((count - i - 0.5) / count),
    angle: 1 + i * golden,
  }));
}

/**
 * The angles, moved apart until none is nearer to another than `gap` radians, as far as a circle has room.
 * @param {number[]} angles
 * @param {number} gap
 */
export function spread(angles, gap) {
  const order = angles.map((angle, index) => ({ angle, index })).sort((a, b) => a.angle - b.angle);
  const room = Math.min(gap, (2 * Math.PI) / order.length);
  for (let round = 0; round < 300; round++) {
    order.forEach((one, i) => {
      const next = order[(i + 1) % order.length];
      const lap = i + 1 === order.length ? 2 * Math.PI : 0;
      const lack = room - (next.angle + lap - one.angle);
      if (lack > 0 && next !== one) [one.angle, next.angle] = [one.angle - lack / 2, next.angle + lack / 2];
    });
  }
  return order.sort((a, b) => a.index - b.index).map(({ angle }) => angle);
}
