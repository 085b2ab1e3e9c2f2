// One job as it goes on: its document, the paths of its trials, its previews, its baseline.

/** @import { PreviewPicture, TrialProgress } from "rarebit" */
/** @import { Baseline, Complete, Job, JobSummary, Output } from "./api.js" */
/** @import { Polar } from "./polar.js" */
/** @import { JobEvent } from "./stream.js" */
import { Problem, readBaseline, readJob } from "./api.js";
import { sleep } from "./connection.js";
import { follow } from "./stream.js";

const TRAIL = 80; // points of a path that are kept
const PLACE_MS = 5000;
const FINAL = new Set(["succeeded", "failed", "canceled"]);

/** @typedef {Polar & { validity: number | null }} Point */
/**
 * @typedef {object} Trial
 * @property {TrialProgress["state"] | "chosen"} state
 * @property {number} bits
 * @property {number | null} validity
 * @property {Point[]} trail the latest last
 * @property {number} [output] what was handed out of it, if anything was
 */
/** @typedef {Complete<PreviewPicture> & Polar} Preview */
/**
 * @typedef {object} Run
 * @property {Job | null} job
 * @property {Trial[]} trials
 * @property {Map<number, Preview>} previews the latest of each trial
 * @property {(number | undefined)[]} shown trials in the gallery
 * @property {Baseline | null} baseline
 * @property {number} step
 * @property {boolean} freshened
 * @property {string} [problem] why there is no job
 */
/** @typedef {Run & { job: Job }} OpenRun */

/** @param {Run} run @returns {run is OpenRun} */
export const isOpen = (run) => run.job !== null;

/** @param {Pick<JobSummary, "status">} job */
export const isFinal = (job) => FINAL.has(job.status);

/**
 * Nothing known yet.
 * @returns {Run}
 */
export const emptyRun = () => ({
  job: null,
  trials: [],
  previews: new Map(),
  shown: [],
  baseline: null,
  step: 0,
  freshened: false,
});

/**
 * Watches until the end, calling `changed` after each change. A Problem for a job that is not there.
 * @param {string} id
 * @param {Run} empty
 * @param {(run: OpenRun) => void} changed
 * @param {AbortSignal} signal
 */
export async function watch(id, empty, changed, signal) {
  const run = Object.assign(empty, { job: await readJob(id, signal) });
  changed(run);
  const refresh = async () => {
    run.baseline ??= await readBaseline(id, signal).catch(quietly);
    changed(run);
  };
  keepPlace(id, run, changed, signal).catch(() => {}); // whoever reads the events hears what is wrong
  do {
    for await (const event of follow(`jobs/${id}/events?previews=true`, signal)) {
      const started = apply(run, event);
      changed(run);
      if (started) refresh().catch(() => {}); // it is asked for again at the end
      if (event.kind === "status" && FINAL.has(event.data.status)) break;
    }
    run.job = await readJob(id, signal);
    if (!isFinal(run.job)) await sleep(1000, signal);
  } while (!isFinal(run.job));
  if (run.step || run.job.outputs.length) await refresh();
}

/**
 * Keeps the place in the queue up to date, of which no event tells.
 * @param {string} id
 * @param {OpenRun} run
 * @param {(run: OpenRun) => void} changed
 * @param {AbortSignal} signal
 */
async function keepPlace(id, run, changed, signal) {
  while (run.job.status === "queued") {
    await sleep(PLACE_MS, signal);
    const { queue } = await readJob(id, signal);
    if (run.job.status === "queued") Object.assign(run.job, { queue });
    changed(run);
  }
}

/**
 * The trials as they are to be drawn: after the end, those that gave results stand where their pictures were found.
 * @param {Run} run
 * @returns {Trial[]}
 */
export function trialsOf({ job, trials }) {
  if (!job || !isFinal(job)) return trials;
  const results = new Map(job.outputs.filter(Boolean).map((output) => [trialOf(job, output), output]));
  return trials.map((trial, index) => {
    const output = results.get(index);
    return output ? found(trial, output) : { ...trial, state: "ended" };
  });
}

/** @param {Job} job @param {Output} output */
const trialOf = ({ request }, output) => output.seed - request.seed;

/**
 * The last preview of the trial that gave the output, if there was one.
 * @param {OpenRun} run
 * @param {Output} output
 */
export const previewOf = ({ job, previews }, output) => previews.get(trialOf(job, output));

/**
 * @param {Trial} trial
 * @param {Output} output
 * @returns {Trial}
 */
function found({ trail }, { index, rarity, validity }) {
  const off = trail.map(({ bits }) => Math.abs(bits - rarity.bits));
  const until = off.lastIndexOf(Math.min(...off)) + 1;
  return { state: "chosen", output: index, validity, bits: rarity.bits, trail: trail.slice(0, until) };
}

/**
 * Takes an event in; whether it is the first step of the trials, before which there is no baseline.
 * @param {OpenRun} run
 * @param {JobEvent} event
 */
function apply(run, { kind, data }) {
  if (kind === "status" && !isFinal(run.job)) Object.assign(run.job, data);
  if (kind === "output" && !isFinal(run.job)) run.job.outputs[data.index] = data;
  if (kind === "preview") for (const picture of data.pictures) run.previews.set(picture.trial, placed(run, picture));
  if (kind !== "progress") return false;
  run.job.progress = data;
  if (data.phase !== "optimize") return false;
  if (data.step < run.step) Object.assign(run, { trials: [], previews: new Map() }); // another attempt begins
  const first = run.step === 0;
  run.step = data.step;
  (data.trials ?? []).forEach((trial, index) => extend(run, trial, index));
  return first;
}

/**
 * A preview where its trial is now; the trial goes on from there.
 * @param {Run} run
 * @param {Complete<PreviewPicture>} picture
 * @returns {Preview}
 */
const placed = (run, picture) => ({ ...picture, angle: run.trials[picture.trial]?.trail.at(-1)?.angle ?? 0 });

/** @param {Run} run @param {TrialProgress} trial @param {number} index */
function extend(run, { bits, validity, x, y, state }, index) {
  const { trail = [] } = run.trials[index] ?? {};
  const point = { bits, angle: Math.atan2(y, x), validity };
  run.trials[index] = { state, validity, bits, trail: state === "ended" ? trail : [...trail.slice(1 - TRAIL), point] };
}

/** @param {unknown} error */
function quietly(error) {
  if (!(error instanceof Problem)) throw error;
  return null;
}
