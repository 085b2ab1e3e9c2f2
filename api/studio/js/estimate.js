// How far a run has come, as one share that never falls, and how long it still takes.

/** @import { Job, Progress } from "./api.js" */
import { isFinal } from "./run.js";

const CHECK_EVERY = 25; // steps after which the worker looks at the trials at the latest
const USUAL_STEPS = 50;
const [SURE_MS, SURE_SHARE] = [3000, 0.05]; // before both nobody knows how long it takes
const CALM_MS = 4000; // in which most of what one now thinks of the end is taken over

/** What a phase takes of all that is left when it begins, as measured on runs of four images. */
const PARTS = { load: 0.02, fit: 0.5, optimize: 0.6, decode: 0.35, check: 0.05, upload: 0.9 };
const PLAIN = 0.03; // the same for plain samples, but for the fit, which the run needs as well

/**
 * Follows one job: called with it, with the plain samples that run before it, if any do, and with the time in
 * milliseconds, it gives the share in 0–1 and the seconds that are left, or null while nobody knows: no less than the
 * phase in hand still takes at its pace.
 */
export function createEstimate() {
  let [share, since, ends, thought, many, rest] = [0, NaN, NaN, 0, 1, 0];
  let leg = { name: "", from: 0, part: 0, begun: 0, met: 0, at: 0 };

  /** @param {Progress} progress @param {boolean} plain @param {number} now */
  const advance = ({ phase, step, steps }, plain, now) => {
    if (Number.isNaN(since)) since = now;
    const moving = phase === "optimize";
    if (moving && !plain) many = Math.max(1, (steps - step) / USUAL_STEPS);
    const name = `${phase} ${plain}`;
    const part = plain && phase !== "fit" ? PLAIN : PARTS[phase] / many;
    if (name !== leg.name) leg = { name, from: share, part, begun: moving ? step - 1 : 0, met: step, at: now };
    const until = moving ? Math.min(steps, leg.begun + CHECK_EVERY - (leg.begun % CHECK_EVERY)) : steps;
    const done = Math.min(1, (step - leg.begun) / Math.max(1, until - leg.begun));
    share = Math.max(share, leg.from + (1 - leg.from) * leg.part * done);
    rest = step > leg.met ? ((now - leg.at) * (until - step)) / (step - leg.met) : 0;
  };

  return (/** @type {Job} */ job, /** @type {Job | null} */ plain, /** @type {number} */ now) => {
    if (isFinal(job)) return { share: 1, left: null };
    const { status, progress } = plain ?? job;
    if (status === "running" && progress) advance(progress, plain !== null, now);
    if (!(now - since > SURE_MS && share > SURE_SHARE)) return { share, left: null };
    const guess = now + Math.max(((now - since) * (1 - share)) / share, rest);
    ends = Number.isNaN(ends) ? guess : guess + (ends - guess) * Math.exp((thought - now) / CALM_MS);
    thought = now;
    return { share, left: Math.max(0, ends - now) / 1000 };
  };
}
