// Plain samples: a small job of its own for each concept, remembered in this browser.

/** @import { Run } from "./run.js" */
import { Problem, cancelJob, readJob, submitJob } from "./api.js";
import { plain } from "./requests.js";
import { emptyRun, isFinal, watch } from "./run.js";

const NAME = "rarebit.plain";
const COUNT = 4;
const KEPT = 200;

/** @typedef {{ concept: string, prompt?: string | undefined }} Words what plain samples are of */

/** @param {Words} request */
const nameOf = ({ concept, prompt = "" }) => `${concept.trim().toLowerCase()}\n${prompt}`;

/**
 * Whether this browser has made some for the request before.
 * @param {Words} request
 */
export const isKnown = (request) => recall().has(nameOf(request));

/**
 * Makes plain samples for a request that is about to be sent, unless it was done before: the ordinary comes first.
 * @param {Words} request
 * @param {AbortSignal} signal
 */
export async function ensurePlain(request, signal) {
  if (isKnown(request)) return;
  const id = await make(request, signal);
  signal.addEventListener("abort", () => abandon(id), { once: true });
}

/**
 * The run of the plain samples of the request's concept, made unless they are there; `changed` as it goes on.
 * @param {Words} request
 * @param {(run: Run) => void} changed
 * @param {AbortSignal} signal
 */
export async function plainSamples(request, changed, signal) {
  const run = emptyRun();
  try {
    const id = (await known(request, signal)) ?? (await make(request, signal));
    await watch(id, run, changed, signal);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    changed({ ...run, problem: error.message });
  }
}

/** @param {Words} request @param {AbortSignal} signal */
async function known(request, signal) {
  const id = recall().get(nameOf(request));
  const job = id ? await readJob(id, signal).catch(nobody) : null;
  return job && (job.status === "succeeded" || !isFinal(job)) ? id : null;
}

/**
 * Remembers the job by the request as it was sent, and as it was accepted: with its prompt.
 * @param {Words} request
 * @param {AbortSignal} signal
 */
async function make(request, signal) {
  const job = await submitJob(plain(request, COUNT), signal);
  const names = [nameOf(request), nameOf(job.request)];
  const others = [...recall()].filter(([name]) => !names.includes(name));
  keep(new Map([...others, ...names.map((name) => /** @type {const} */ ([name, job.id]))]));
  return job.id;
}

/** @param {string} id */
function abandon(id) {
  keep(new Map([...recall()].filter(([, known]) => known !== id)));
  cancelJob(id).catch(() => {}); // it has ended meanwhile, or is gone
}

/** @param {Map<string, string>} all */
const keep = (all) => localStorage.setItem(NAME, JSON.stringify([...all].slice(-KEPT)));

/** @returns {Map<string, string>} */
function recall() {
  try {
    return new Map(JSON.parse(localStorage.getItem(NAME) ?? "[]"));
  } catch {
    return new Map(); // written by something else: start anew
  }
}

/** @param {unknown} error */
function nobody(error) {
  if (error instanceof Problem) return null; // expired, or erased
  throw error;
}
