// The strip that says where the run stands, which phones keep in view, with a way to stop it.

/** @import { Job } from "./api.js" */
/** @import { Run } from "./run.js" */
import { announce, whisper } from "./announce.js";
import { cancelJob } from "./api.js";
import { byId, h, hide, jump, set } from "./dom.js";
import { createEstimate } from "./estimate.js";
import { isFinal } from "./run.js";
import { bits, doing, isFitting, isLost, remaining, standing, startsIn } from "./words.js";

/** Draws the run that it is called with; `plain` is the job that may come before it. */
export function createProgress() {
  const strip = byId("run");
  const [state, left, detail] = [h("h2", {}), h("p", { class: "left" }), h("p", { class: "detail" })];
  const bar = h("progress", { max: 1, value: 0, "aria-label": "Progress" });
  const cancel = h("button", { type: "button", text: "Cancel" });
  const results = jump(h("a", { class: "to-results", href: "#rare" }));
  strip.append(h("div", { class: "state" }, state, results, cancel), bar, h("div", { class: "print" }, left, detail));
  const tell = onChange(whisper);
  let estimate = createEstimate();
  /** @type {Job | null} */
  let job = null;
  cancel.addEventListener("click", () => {
    if (job) cancelJob(job.id).catch((problem) => announce(problem.message));
  });
  /** @param {Run} run @param {Job | null | undefined} plain */
  return (run, plain) => {
    strip.classList.toggle("empty", !run.job);
    if (run.job?.id !== job?.id) estimate = createEstimate();
    ({ job } = run);
    if (!job) return;
    const first = job.status === "queued" && plain?.status === "running" ? plain : null;
    const ended = isFinal(job);
    const { share, left: seconds } = estimate(job, first, performance.now());
    state.textContent = standing(job, share > 0);
    left.textContent = seconds === null || isLost(job) ? startsIn(job) : remaining(seconds);
    detail.textContent = first ? `First, the ordinary: ${details(first)}` : details(job);
    tell(`${job.concept}: ${state.textContent}`);
    hide(cancel, ended || job.status === "canceling", strip);
    strip.classList.toggle("ended", ended);
    set(bar, { value: share.toFixed(3) });
    drawResults(results, run);
  };
}

/**
 * The way to what there is to see already.
 * @param {HTMLElement} link
 * @param {Run} run
 */
function drawResults(link, { job, previews }) {
  const found = job?.outputs.filter(Boolean).length;
  link.hidden = !found && !previews.size;
  link.textContent = found ? `${found} found ↓` : "Previews ↓";
}

/**
 * Calls `heard` with a text that is not the last one's.
 * @param {(text: string) => void} heard
 */
function onChange(heard) {
  let last = "";
  return (/** @type {string} */ text) => {
    if (text !== last) heard((last = text));
  };
}

/** @param {Job} job */
function details(job) {
  const { progress, queue } = job;
  if (job.status === "failed") return job.error?.detail ?? "";
  if (job.status === "succeeded") return took(job);
  if (isLost(job)) return "Another one takes over, from where this one last saved.";
  if (job.status === "queued") return queue && queue.position > 1 ? `Place ${queue.position} in the queue` : "";
  if (job.status !== "running") return "";
  const steps = progress && progress.steps > 1 && !isFitting(job) ? `${progress.step} of ${progress.steps}` : "";
  const median = progress?.phase === "optimize" ? progress.rarity_bits : null;
  const beyond = median === null ? "" : `half of them beyond ${bits(median)}`;
  return [doing(job), steps, beyond].filter(Boolean).join(" · ");
}

/** @param {Job} job */
function took({ metrics, outputs }) {
  const seconds =
    (metrics.fit_ms + metrics.optimize_ms + metrics.check_ms + metrics.decode_ms + metrics.upload_ms) / 1000;
  const images = outputs.length === 1 ? "1 image" : `${outputs.length} images`;
  return seconds === 0 ? images : `${images} in ${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
}
