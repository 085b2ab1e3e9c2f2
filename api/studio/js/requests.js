// Job requests made from other jobs' requests.

/** @import { Direction } from "rarebit" */
/** @import { Accepted, Job, JobSummary } from "./api.js" */
/** @import { Typed } from "./ask.js" */
/** @import { Words } from "./plain.js" */

const SERVICES_OWN = new Set(["run_within", "expires_in", "metadata", "priority"]);
const PLAIN = { studio: "plain" }; // metadata by which this page knows its own jobs for plain samples

/** @param {unknown} value */
const isEmpty = (value) => value === null || (typeof value === "object" && Object.keys(value).length === 0);

/**
 * What of an accepted request asks for the same again, its seed included.
 * @param {Accepted} request
 * @returns {Typed}
 */
export function again({ concept, ...request }) {
  return {
    concept,
    ...compact(Object.fromEntries(Object.entries(request).filter(([name]) => !SERVICES_OWN.has(name)))),
  };
}

/**
 * The same from fresh noise, toward the output or away from it. The last picture to lean to is the only one.
 * @param {Job} job
 * @param {number} index
 * @param {"toward" | "avoid"} way
 * @returns {Typed}
 */
export function steered(job, index, way) {
  const { concept, ...request } = again(job.request);
  delete request.seed;
  delete request.found;
  const output = `${job.id}/${index}`;
  /** @param {Direction[]} list */
  const others = (list) => list.filter((one) => one.output !== output);
  const toward = others(job.request.toward).filter((one) => way === "avoid" || one.text);
  const lists = { toward, avoid: others(job.request.avoid).slice(way === "avoid" ? -7 : -8) };
  lists[way] = [...lists[way], { output }];
  return { concept, ...compact({ ...request, ...lists, mode: "calibrated" }) };
}

/**
 * Plain samples of the concept: the first step is measured before anything is learnt.
 * @param {Words} words
 * @param {number} count
 */
export function plain({ concept, prompt }, count) {
  return { concept, prompt, count, trials: count, steps: 1, rarity: { percentile: 50 }, metadata: PLAIN };
}

/** @param {JobSummary} job */
export const isPlain = (job) => job.metadata.studio === PLAIN.studio;

/**
 * A command that sends the request; a key is named, never written.
 * @param {Typed} request
 * @param {boolean} withKey
 */
export function curl(request, withKey) {
  const words = ["curl -s", new URL("jobs", document.baseURI).href, "-H 'content-type: application/json'"];
  if (withKey) words.push('-H "authorization: Bearer $RAREBIT_KEY"');
  return [...words, `-d '${JSON.stringify(request).replaceAll("'", "'\\''")}'`].join(" \\\n  ");
}

/**
 * @param {object} request
 * @returns {{ [field: string]: unknown }}
 */
function compact(request) {
  return Object.fromEntries(
    Object.entries(request)
      .map(([name, value]) => [name, dense(value)])
      .filter(([, value]) => !isEmpty(value)),
  );
}

/**
 * Documents without the fields that are null.
 * @param {unknown} value
 * @returns {unknown}
 */
function dense(value) {
  if (Array.isArray(value)) return value.map(dense);
  if (value === null || typeof value !== "object") return value;
  return compact(value);
}
