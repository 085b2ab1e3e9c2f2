// The panel beside the map: where the run stands, the plot, and a way to stop it.

/** @import { Job, Problem } from "./api.js" */
/** @import { Run, Trial } from "./run.js" */
import { announce, whisper } from "./announce.js";
import { cancelJob } from "./api.js";
import { byId, each, h, hide, s, set } from "./dom.js";
import { createPlot } from "./plot.js";
import { isFinal, trialsOf } from "./run.js";
import { bits, isFitting, isLost, standing, startsIn, targetBits } from "./words.js";

/** @type {[state: Trial["state"], text: string][]} */
const STATES = [
  ["moving", "on its way"],
  ["arrived", "arrived"],
  ["ended", "set aside"],
  ["chosen", "in the gallery"],
];

/** @type {{ [status: number]: [title: string, text: string] }} */
const LOSSES = {
  404: ["There is no such run", "The address is wrong, the run was erased, or it belongs to another key."],
  410: ["That run is no longer kept", "Its images and its record were kept as long as was promised."],
};

/**
 * Draws the run that it is called with, and before any an invitation; `plain` is the job that may come before it,
 * `problem` the reason why there is none where one was asked for.
 */
export function createProgress() {
  const host = byId("run");
  const [state, detail, legend] = [
    h("h2", {}),
    h("p", { class: "detail" }),
    h("ul", { class: "legend", "aria-label": "Trials" }),
  ];
  const bar = h("progress", { max: 1, value: 0, "aria-label": "Progress of this phase" });
  const cancel = h("button", { type: "button", text: "Cancel" });
  const chart = h("div", { class: "plot" });
  const live = h("div", { class: "live" }, h("div", { class: "state" }, state, cancel), bar, detail, chart, legend);
  const lost = h("div", { class: "lost", role: "alert" });
  host.append(invitation(), live, lost);
  const plot = createPlot(chart);
  /** @type {Job | null} */
  let job = null;
  const tell = onChange(whisper);
  cancel.addEventListener("click", () => {
    if (job) cancelJob(job.id).catch((problem) => announce(problem.message));
  });
  /** @param {Run} run @param {Job | null | undefined} plain @param {Problem | null} problem */
  return (run, plain, problem) => {
    ({ job } = run);
    host.classList.toggle("idle", !job && !problem);
    host.classList.toggle("gone", Boolean(problem));
    if (Boolean(problem) !== lost.hasChildNodes()) lost.replaceChildren(...(problem ? loss(problem) : []));
    if (!job) return;
    const first = job.status === "queued" && plain?.status === "running" ? plain : null;
    state.textContent = first ? "First, the ordinary" : standing(job);
    detail.textContent = first ? `${standing(first)} · ${details(first)}` : details(job);
    tell(`${job.concept}: ${state.textContent}`);
    hide(cancel, isFinal(job) || job.status === "canceling", host);
    set(bar, { value: share(first ?? job) });
    bar.style.visibility = isFinal(job) ? "hidden" : ""; // what is below stays where it is
    const trials = trialsOf(run);
    plot({ target: targetBits(job.request), trials });
    drawLegend(legend, trials);
  };
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
  const { progress } = job;
  if (job.status === "failed") return job.error?.detail ?? "";
  if (job.status === "succeeded") return took(job);
  if (isLost(job)) return "Another one takes over, from where this one last saved.";
  if (job.status !== "running" || !progress) return startsIn(job);
  if (isFitting(job)) return "Fitting the mixture to all samples";
  const step = progress.steps > 1 ? `${progress.step} of ${progress.steps}` : "";
  const median =
    progress.phase === "optimize" && progress.rarity_bits !== null
      ? `half of them beyond ${bits(progress.rarity_bits)}`
      : "";
  return [step, median].filter(Boolean).join(" · ");
}

/** @param {Job} job */
function took({ metrics, outputs }) {
  const seconds =
    (metrics.fit_ms + metrics.optimize_ms + metrics.check_ms + metrics.decode_ms + metrics.upload_ms) / 1000;
  const images = outputs.length === 1 ? "1 image" : `${outputs.length} images`;
  return `${images} in ${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
}

/** @param {Job} job */
function share(job) {
  const { status, progress } = job;
  if (status !== "running" || !progress?.steps || isFitting(job)) return null;
  return progress.step / progress.steps;
}

/**
 * What the marks mean, with how many there are of each.
 * @param {HTMLElement} list
 * @param {Trial[]} trials
 */
function drawLegend(list, trials) {
  const count = (/** @type {Trial["state"]} */ state) => trials.filter((trial) => trial.state === state).length;
  const present = STATES.filter(([state]) => count(state));
  each(list, "li", present, (item, [state, text]) => {
    const mark = s("svg", { viewBox: "-6 -6 12 12", "aria-hidden": "true" }, s("circle", { r: 4, class: state }));
    item.replaceChildren(mark, `${count(state)} ${text}`);
  });
}

/**
 * What stands in place of a run that cannot be shown.
 * @param {Problem} problem
 */
function loss({ status, message }) {
  const [title, text] = LOSSES[status] ?? ["This run cannot be shown", message];
  return [
    h("h2", { text: title }),
    h("p", { text }),
    h("p", {}, h("a", { href: "#/", text: "Look for something new" }), " or choose a run from the history below."),
  ];
}

function invitation() {
  const lines = [
    [
      "The cloud",
      "is the ordinary: what the model draws when asked for the concept alone. Each bit outward halves what is left.",
    ],
    ["The ring", "is how far out you want to go. Turn the dial, or drag the ring."],
    ["The paths", "are trials. They set out from the cloud, and a judge whom they never see keeps them recognisable."],
  ];
  return h(
    "dl",
    { class: "invitation" },
    ...lines.flatMap(([term, text]) => [h("dt", { text: term }), h("dd", { text })]),
  );
}
