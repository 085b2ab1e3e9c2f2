// Beside the map: the plot of the run's trials; before there is a run an invitation, and why one cannot be shown.

/** @import { Problem } from "./api.js" */
/** @import { Run, Trial } from "./run.js" */
import { byId, each, h, s } from "./dom.js";
import { createPlot } from "./plot.js";
import { isOpen, trialsOf } from "./run.js";
import { targetBits } from "./words.js";

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

/** Draws the run that it is called with; `problem` is why there is none where one was asked for. */
export function createTrials() {
  const chart = h("div", { class: "plot" });
  const legend = h("ul", { class: "legend", "aria-label": "Trials" });
  const [invited, lost] = [invitation(), h("div", { class: "lost", role: "alert" })];
  byId("trials").append(invited, chart, legend, lost);
  const plot = createPlot(chart);
  /** @param {Run} run @param {Problem | null} problem */
  return (run, problem) => {
    invited.hidden = Boolean(run.job || problem);
    chart.hidden = legend.hidden = !run.job;
    if (Boolean(problem) !== lost.hasChildNodes()) lost.replaceChildren(...(problem ? loss(problem) : []));
    if (!isOpen(run)) return;
    const trials = trialsOf(run);
    plot({ target: targetBits(run.job.request), trials });
    drawLegend(legend, trials);
  };
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
