// The ordinary beside the rare: plain samples of the concept, and the job's images as they come.

/** @import { Job, Output } from "./api.js" */
/** @import { OpenRun, Preview, Run } from "./run.js" */
/** @import { Act } from "./tile.js" */
import { byId, each, h, hide } from "./dom.js";
import { isFinal, isOpen, previewOf } from "./run.js";
import { plainTile, showPreview, tile, waitingTile } from "./tile.js";
import { asked, reached, redness } from "./words.js";

const [SMALLEST, LARGEST] = [128, 256]; // CSS pixels of a picture's edge
const USUAL = 256; // pixels of a picture, until one has come

/** @typedef {{ key: string, make: () => HTMLElement, update?: (child: HTMLElement) => void }} Item */

/**
 * Draws the run that it is called with beside the plain samples' one, once there is one.
 * @param {Act} act
 * @param {(job: Job) => void} askForPlain
 * @param {() => void} stale for an URL that has expired
 */
export function createGallery(act, askForPlain, stale) {
  const host = byId("gallery");
  const ordinary = h("div", { class: "tiles small" });
  const rare = h("div", { class: "tiles" });
  const [ordinaryNote, rareTitle, rareNote] = [h("p", {}), h("h2", {}), h("p", {})];
  const warnings = h("div", { class: "warnings", role: "status" });
  /** @type {Job | null} */
  let job = null;
  const ask = () => job && askForPlain(job);
  const offer = h("button", { type: "button", text: "Show plain samples", on: { click: () => void ask() } });
  const ordinarySection = h(
    "section",
    { class: "ordinary", "aria-label": "Plain samples", tabindex: -1 },
    h("h2", { text: "The ordinary" }),
    ordinaryNote,
    ordinary,
    offer,
  );
  host.append(
    ordinarySection,
    h(
      "section",
      { id: "rare", class: "rare", "aria-label": "Rare images", tabindex: -1 },
      rareTitle,
      rareNote,
      warnings,
      rare,
    ),
  );
  const drawPlain = keeping(ordinary);
  const drawRare = keeping(rare);
  /** @param {Run} run @param {Run | null} plain */
  return (run, plain) => {
    host.hidden = !isOpen(run);
    if (!isOpen(run)) return;
    ({ job } = run);
    host.style.setProperty("--picture", `${edge(job, plain?.job)}px`);
    const outputs = job.outputs.filter(Boolean);
    rareTitle.textContent = `${job.concept}, ${title(job, outputs)}`;
    const least = outputs.length ? Math.min(...outputs.map(({ rarity }) => rarity.bits)) : 0;
    rareTitle.style.setProperty("--out", redness(least));
    rareNote.textContent = sentence(job);
    each(warnings, "p", job.warnings, (line, text) => {
      if (line.textContent !== text) line.textContent = text; // what is said again, screen readers read again
    });
    const rungs = job.request.rarity.ladder?.length ?? 0;
    rare.classList.toggle("ladder", rungs > 0);
    rare.style.setProperty("--rungs", String(rungs));
    drawRare(rareItems(run, act, stale));
    ordinaryNote.textContent = plainSentence(job, plain);
    hide(offer, Boolean(plain), ordinarySection);
    drawPlain(plainItems(plain, stale));
  };
}

/**
 * The edge at which each pixel of a picture is one of the screen's, as far as it fits the layout.
 * @param {Job} job
 * @param {Job | null} [plainJob]
 */
function edge(job, plainJob) {
  const picture = [job, plainJob].flatMap((one) => one?.outputs.filter(Boolean) ?? []).at(0);
  const { width, height } = picture ?? sides(job.request.size);
  return Math.min(LARGEST, Math.max(SMALLEST, Math.max(width, height) / devicePixelRatio));
}

/** @param {Job["request"]["size"]} size */
const sides = (size) => (typeof size === "object" && size ? size : { width: size ?? USUAL, height: size ?? USUAL });

/**
 * Replaces the children that stand for something else than before; the others, and the focus in them, stay.
 * @param {HTMLElement} parent
 */
function keeping(parent) {
  /** @type {Map<string, HTMLElement>} */
  let kept = new Map();
  /** @param {Item[]} items */
  return (items) => {
    kept = new Map(items.map(({ key, make }) => [key, kept.get(key) ?? make()]));
    const children = [...kept.values()];
    children.forEach((child, i) => items[i].update?.(child));
    if (children.some((child, i) => parent.children[i] !== child) || parent.childElementCount !== children.length)
      parent.replaceChildren(...children);
  };
}

/**
 * @param {OpenRun} run
 * @param {Act} act
 * @param {() => void} stale
 * @returns {Item[]}
 */
function rareItems(run, act, stale) {
  const { job } = run;
  const rungs = job.request.rarity.ladder?.length ?? 1;
  const wanted = isFinal(job) ? job.outputs.length : job.request.count * rungs;
  run.shown = settle(run.shown, run.previews, wanted);
  return Array.from({ length: wanted }, (_, index) => {
    const output = job.outputs[index];
    if (output)
      return {
        key: `${job.id}/${index}/${run.freshened}`,
        make: () => onLadder(tile(job, output, previewOf(run, output), act, stale), output),
      };
    const preview = run.previews.get(run.shown[index] ?? NaN);
    return {
      key: `${job.id}/waiting/${index}`,
      make: waitingTile,
      update: (place) => preview && showPreview(place, preview),
    };
  });
}

/**
 * A strip for each column, and a place for each rung in it, which is empty where none was found.
 * @param {HTMLElement} place
 * @param {Output} output
 */
function onLadder(place, { rarity: { rung } }) {
  if (rung) place.style.gridArea = `${rung.column + 1} / ${rung.index + 1}`;
  return place;
}

/**
 * The trials of the best previews, each in the place where it was `shown` before.
 * @param {Run["shown"]} shown
 * @param {Run["previews"]} previews
 * @param {number} count
 */
function settle(shown, previews, count) {
  /** @param {Preview} preview */
  const worth = ({ bits, validity }) => bits * (validity ?? 1);
  const sorted = [...previews.values()].sort((a, b) => worth(b) - worth(a));
  const best = sorted.slice(0, count).map(({ trial }) => trial);
  const fresh = best.filter((trial) => !shown.includes(trial));
  return Array.from({ length: count }, (_, i) => best.find((trial) => trial === shown[i]) ?? fresh.shift());
}

/**
 * @param {Run | null} plain
 * @param {() => void} stale
 * @returns {Item[]}
 */
function plainItems(plain, stale) {
  if (!plain?.job) return [];
  const { job } = plain;
  if (!isFinal(job))
    return Array.from({ length: job.request.count }, (_, i) => ({ key: `waiting/${i}`, make: waitingTile }));
  return job.outputs.map((output) => ({
    key: `${job.id}/${output.index}/${plain.freshened}`,
    make: () => plainTile(job, output, stale),
  }));
}

/**
 * What was reached, and only until something was, what was asked for.
 * @param {Job} job
 * @param {Output[]} outputs
 */
function title(job, outputs) {
  if (outputs.length) return `${reached(outputs)} out`;
  return isFinal(job) ? "none found" : asked(job.request);
}

/** @param {Job} job */
function sentence(job) {
  if (job.error) return `${job.error.title}. ${job.error.detail}`;
  if (job.status === "canceled") return "Canceled before there were images.";
  if (job.status !== "succeeded") return "They appear here as they are found.";
  return `${asked(job.request)}.`;
}

/** @param {Job} job @param {Run | null} plain */
function plainSentence({ concept }, plain) {
  if (plain?.problem) return `No plain samples: ${plain.problem}`;
  return plain ? `What the model draws for “${concept}” and nothing more.` : "To compare with.";
}
