// Figures and states in plain words.

/** @import { Direction } from "rarebit" */
/** @import { Accepted, Job, JobSummary, Output } from "./api.js" */

const RED = 10; // bits from which on there is no more red

/** The validity from which on the judge takes a picture for one of the concept. */
export const VALID = 0.5;

/** @type {[below: number, word: string][]} */
const WORDS = [
  [5, "familiar"],
  [10, "unusual"],
  [15, "rare"],
];
const PHASES = {
  load: "Loading the model",
  fit: "Learning what is usual",
  optimize: "Moving outward",
  check: "Looking at what came of it",
  decode: "Drawing",
  upload: "Saving",
};
const ENDS = { succeeded: "Done", failed: "Failed", canceled: "Canceled", canceling: "Stopping" };

/** @param {number} bits */
export const rarityWord = (bits) => WORDS.find(([below]) => bits < below)?.[1] ?? "unheard of";

/**
 * "1 in 1,000" for 10 bits: two digits say enough.
 * @param {number} bits
 */
export function odds(bits) {
  const n = 2 ** bits;
  const unit = 10 ** Math.max(0, Math.floor(Math.log10(n)) - 1);
  return `1 in ${number(Math.round(n / unit) * unit)}`;
}

/** @type {[size: number, name: string][]} */
const LARGE = [
  [1e9, "billion"],
  [1e6, "million"],
];

/** @param {number} value */
export function number(value) {
  for (const [size, name] of LARGE) if (value >= size) return `${+(value / size).toPrecision(2)} ${name}`;
  return value.toLocaleString("en");
}

/** @param {number} value */
export const bits = (value) => `${number(Math.round(10 * value) / 10)} bits`;

/** @param {number} share */
export const percent = (share) => `${Math.round(100 * share)}%`;

/**
 * How sure the judge is of the concept.
 * @param {number | null} validity null where it cannot tell
 */
export const surety = (validity) => (validity === null ? "validity unknown" : `${percent(validity)} valid`);

/**
 * What the job was asked for, in bits; on a ladder by the last rung.
 * @param {Accepted} request
 */
export const targetBits = ({ rarity }) =>
  rarity.ladder?.at(-1) ?? rarity.bits ?? -Math.log2(1 - Number(rarity.percentile) / 100);

/**
 * The same in words, with every rung; of what is drawn again its sentence.
 * @param {Accepted} request
 */
export function asked(request) {
  if (request.found) return `drawn again as “${request.prompt.replace("{}", request.concept)}”`;
  const rungs = request.rarity.ladder ? `${request.rarity.ladder.join(", ")} bits` : bits(targetBits(request));
  return `${rungs} asked for`;
}

/**
 * What a direction is called where its picture is not seen.
 * @param {Direction} direction
 */
export const directionName = ({ text, output }) =>
  text ?? `image ${Number(output?.split("/")[1]) + 1} of another run`;

/**
 * All that the request wished for beside its concept, in one line.
 * @param {Accepted} request
 */
export function wish(request) {
  const directions = [
    ...request.toward.map((one) => `toward ${directionName(one)}`),
    ...request.avoid.map((one) => `away from ${directionName(one)}`),
  ];
  return [asked(request), ...directions, ...(request.image ? ["from a picture"] : [])].join(", ");
}

/**
 * Whether the worker that ran the job gives no sign, and nothing has come of another one yet.
 * @param {JobSummary} job
 */
export const isLost = ({ status, progress }) =>
  (status === "running" || status === "queued") && (progress?.silent_s ?? null) !== null;

/**
 * Where the job stands, in few words that seldom change.
 * @param {Job} job
 * @param {boolean} begun whether anything was done for it, as the plain samples before it
 */
export function standing(job, begun) {
  if (isLost(job)) return "The worker stopped answering";
  if (job.status === "queued") return begun ? "Finding them" : "Waiting";
  return job.status === "running" ? "Finding them" : ENDS[job.status];
}

/**
 * What the worker does at the moment.
 * @param {Job} job
 */
export function doing(job) {
  if (isFitting(job)) return "Fitting the mixture to all samples";
  return job.progress ? PHASES[job.progress.phase] : "Starting";
}

/**
 * How long it still takes, in words that do not flicker.
 * @param {number} seconds
 */
export function remaining(seconds) {
  if (seconds > 100) return `about ${Math.round(seconds / 60)} min left`;
  return seconds > 5 ? `about ${5 * Math.ceil(seconds / 5)} s left` : "a few seconds left";
}

/**
 * How far out the pictures are, each rounded as under it.
 * @param {JobSummary["outputs"]} outputs
 */
export function reached(outputs) {
  const all = outputs.map(({ rarity }) => Math.round(10 * rarity.bits) / 10);
  const [least, most] = [Math.min(...all), Math.max(...all)];
  return least === most ? bits(least) : `${number(least)} to ${bits(most)}`;
}

/**
 * How red what is so far out is, for style sheets.
 * @param {number} value in bits
 */
export const redness = (value) => Math.min(1, value / RED).toFixed(2);

/**
 * What is to be said against a picture, in two words each.
 * @param {Job} job
 * @param {Output} output
 */
export function weaknesses({ request }, { rarity, validity }) {
  const target = rarity.rung?.bits ?? targetBits(request);
  const short = !request.found && rarity.bits < target - 0.05 ? [`short of ${bits(target)}`] : [];
  return validity !== null && validity < VALID ? [...short, "doubtful"] : short;
}

/**
 * Whether all samples are drawn, and the mixture is being fitted to them, which tells no steps.
 * @param {Job} job
 */
export const isFitting = ({ status, progress }) =>
  status === "running" && progress?.phase === "fit" && progress.step === progress.steps;

/**
 * When a queued job will start, if anything was measured.
 * @param {Job} job
 */
export function startsIn(job) {
  const eta = job.status === "queued" ? job.queue?.eta_seconds : null;
  return eta ? `starts in about ${Math.ceil(eta.p50)} to ${Math.ceil(eta.p90)} s` : "";
}

/** @type {[unit: string, seconds: number][]} */
const UNITS = [
  ["day", 86400],
  ["hour", 3600],
  ["minute", 60],
];

/** @param {string} time */
export function ago(time) {
  const seconds = (Date.now() - Date.parse(time)) / 1000;
  for (const [unit, size] of UNITS) {
    const n = Math.floor(seconds / size);
    if (n >= 1) return `${n} ${unit}${n > 1 ? "s" : ""} ago`;
  }
  return "just now";
}
