// The studio: which job is open, and what is drawn of it where.

/** @import { Job, Output } from "./api.js" */
/** @import { Typed } from "./ask.js" */
/** @import { Picture } from "./map.js" */
/** @import { Run } from "./run.js" */
import { Problem, pictureUrl, readJob } from "./api.js";
import { createAsk } from "./ask.js";
import { createCompare } from "./compare.js";
import { createDial } from "./dial.js";
import { byId, jump } from "./dom.js";
import { createDrop } from "./drop.js";
import { createGallery } from "./gallery.js";
import { createHistory } from "./history.js";
import * as key from "./key.js";
import { createMap } from "./map.js";
import { copy, showPaper } from "./paper.js";
import { remember } from "./pictures.js";
import { ensurePlain, isKnown, plainSamples } from "./plain.js";
import { createProgress } from "./progress.js";
import { createShelf } from "./shelf.js";
import { again, curl, steered } from "./requests.js";
import { emptyRun, isFinal, isOpen, trialsOf, watch } from "./run.js";
import { createTheme } from "./theme.js";
import { createTrials } from "./trials.js";
import { targetBits, weaknesses } from "./words.js";

/** @typedef {{ run: Run, plain: Run | null, lit: number | null, problem: Problem | null }} View */
/** @returns {View} */
const nothing = () => ({ run: emptyRun(), plain: null, lit: null, problem: null });
let view = nothing();
let watching = new AbortController();
let due = false;

createTheme();
const drawMap = createMap(byId("map"), (bits) => (dial.bits = bits));
const dial = createDial((bits) => drawMap({ dial: bits }));
const drawProgress = createProgress();
const drawTrials = createTrials();
const history = createHistory();
const ask = createAsk(dial, ensurePlain, (job) => {
  location.hash = `#/jobs/${job.id}`;
});
const drawGallery = createGallery(
  {
    point: (index) => {
      view.lit = index;
      draw();
    },
    more: (job, output) => start(steered(job, output.index, "toward")),
    away: (job, output) => start(steered(job, output.index, "avoid")),
    vary: (job, output) => ask.vary(`${job.id}/${output.index}`),
    compare: createCompare(),
    keep: createShelf(start),
    steer: ask.steer,
    replay: showReplay,
    curl: async ({ request }) => {
      const command = curl(again(request), key.has());
      if (!(await copy(command))) showPaper("The request as curl", "", command);
    },
  },
  showPlain,
  freshen,
);

createDrop(ask.steer);
addEventListener("hashchange", openNamed);
addEventListener("resize", draw); // a zoom changes how many pixels a picture has room for
jump(byId("to-history", HTMLAnchorElement));
openNamed();

/** Opens the job that the address names, or none. */
async function openNamed() {
  const id = /^#\/jobs\/(.+)$/.exec(location.hash)?.[1];
  watching.abort();
  const { signal } = (watching = new AbortController());
  view = nothing();
  draw();
  history.refresh(id);
  if (!id) return void (document.title = "Rarebit studio");
  try {
    await watchOpen(id, signal);
  } catch (error) {
    if (signal.aborted) return;
    if (!(error instanceof Problem)) throw error;
    document.title = "Rarebit studio";
    view = { ...nothing(), problem: error };
    draw();
  }
}

/** @param {string} id @param {AbortSignal} signal */
async function watchOpen(id, signal) {
  let filled = false;
  await watch(
    id,
    view.run,
    (run) => {
      if (signal.aborted) return;
      if (!filled) opened(run.job);
      filled = true;
      draw();
    },
    signal,
  );
}

/** @param {Job} job */
function opened(job) {
  document.title = `${job.concept} · Rarebit studio`;
  ask.fill(job.request);
  if (isKnown(job.request)) showPlain(job);
  if (!isFinal(job)) byId("map").scrollIntoView({ block: "nearest" });
}

/**
 * Submits what a button under a picture asks for; the picture goes, so the focus moves to the run.
 * @param {Typed} request
 */
function start(request) {
  byId("run").focus({ preventScroll: true });
  return ask.send(request);
}

/** @param {Job} job */
function showPlain({ request }) {
  const { signal } = watching;
  view.plain = emptyRun();
  draw();
  plainSamples(
    request,
    (run) => {
      if (signal.aborted) return;
      view.plain = run;
      draw();
    },
    signal,
  ).catch((error) => {
    if (!signal.aborted) throw error;
  });
}

/** @param {Job} job @param {Output} output */
function showReplay({ request }, output) {
  const note =
    "rarebit replay makes the image again from this block alone. The same run again gives all of its images.";
  showPaper(`Replay of image ${output.index + 1}`, note, JSON.stringify(output.replay, null, 2), () =>
    start(again(request)),
  );
}

/** Asks for fresh URLs when one has expired, at most once for each that a job came with. */
async function freshen() {
  for (const run of [view.run, view.plain]) {
    if (!run?.job || run.freshened) continue;
    run.freshened = true;
    const { job } = run;
    run.job = await readJob(job.id, watching.signal).catch(() => job); // it may be gone meanwhile
  }
  draw();
}

/** Draws once in a frame, however many events it had. */
function draw() {
  if (due) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    const { run, plain, lit, problem } = view;
    const target = run.job ? targetBits(run.job.request) : undefined;
    if (run.job) remember(run.job);
    if (run.job) history.update(run.job);
    drawMap({ target, baseline: points(run.baseline), trials: trialsOf(run), pictures: pictures(run), lit });
    drawProgress(run, plain?.job);
    drawTrials(run, problem);
    drawGallery(run, plain);
    byId("find").classList.toggle("primary", !run.job || isFinal(run.job)); // one thing at a time asks for attention
    caption(run);
  });
}

/** @param {Run["baseline"]} baseline */
const points = (baseline) => baseline?.points.map(({ x, y, bits }) => ({ bits, angle: Math.atan2(y, x) }));

/**
 * Results where their trials found them, by their seeds; before there are any, the latest previews.
 * @param {Run} run
 * @returns {Picture[]}
 */
function pictures(run) {
  if (!isOpen(run)) return [];
  const { job, previews } = run;
  const outputs = job.outputs.filter(Boolean);
  if (!outputs.length) return isFinal(job) ? [] : [...previews.values()];
  const trials = trialsOf(run);
  /** @param {Output} output */
  const angle = ({ index, seed }) =>
    trials[seed - job.request.seed]?.trail.at(-1)?.angle ?? (2 * Math.PI * (index + 0.5)) / outputs.length;
  return outputs.map((output) => ({
    output: output.index,
    bits: output.rarity.bits,
    angle: angle(output),
    url: pictureUrl(output.url),
    final: true,
    weak: weaknesses(job, output).length > 0,
  }));
}

/** @param {Run} run */
function caption({ job, baseline }) {
  const what = baseline ? `${baseline.points.length} plain samples` : "the ordinary, as bits define it";
  byId("map-caption").textContent =
    `${job ? `${job.concept}: ` : "The middle is "}${what}. Outward is rarer; the direction is what kind.`;
}
