// The ordinary beside the rare: plain samples of the concept, and the job's images as they come.

import { byId, each, h, hide } from "./dom.js";
import { isFinal, previewOf } from "./run.js";
import { plainTile, showPreview, tile, waitingTile } from "./tile.js";
import { bits, targetBits } from "./words.js";

const [SMALLEST, LARGEST] = [128, 256]; // CSS pixels of a picture's edge
const USUAL = 256; // pixels of a picture, until one has come

/** `act`: see tile; `askForPlain()` makes plain samples; `stale()` is for an URL that has expired. */
export function createGallery(act, askForPlain, stale) {
  const host = byId("gallery");
  const ordinary = h("div", { class: "tiles small" });
  const rare = h("div", { class: "tiles" });
  const [ordinaryNote, rareTitle, rareNote] = [h("p", {}), h("h2", {}), h("p", {})];
  const warnings = h("div", { class: "warnings", role: "status" });
  const offer = h("button", { type: "button", text: "Show plain samples", on: { click: askForPlain } });
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
    h("section", { class: "rare", "aria-label": "Rare images" }, rareTitle, rareNote, warnings, rare),
  );
  const drawPlain = keeping(ordinary);
  const drawRare = keeping(rare);
  return ({ run, plain }) => {
    host.hidden = !run.job;
    if (!run.job) return;
    const { job } = run;
    host.style.setProperty("--picture", `${edge(job, plain?.job)}px`);
    rareTitle.textContent = `${job.concept}, ${bits(targetBits(job.request))} out`;
    rareNote.textContent = sentence(job);
    each(warnings, "p", job.warnings, (line, text) => {
      if (line.textContent !== text) line.textContent = text; // what is said again, screen readers read again
    });
    drawRare(rareItems(run, act, stale));
    ordinaryNote.textContent = plainSentence(job, plain);
    hide(offer, Boolean(plain), ordinarySection);
    drawPlain(plainItems(plain, stale));
  };
}

/** The edge at which each pixel of a picture is one of the screen's, as far as it fits the layout. */
function edge(job, plainJob) {
  const [picture] = [job, plainJob].flatMap((one) => one?.outputs.filter(Boolean) ?? []);
  const pixels = picture?.width ?? job.request.size ?? USUAL;
  return Math.min(LARGEST, Math.max(SMALLEST, pixels / devicePixelRatio));
}

/** Replaces the children that stand for something else than before; the others, and the focus in them, stay. */
function keeping(parent) {
  return (items) => {
    const kept = new Map(Array.from(parent.children, (child) => [child.dataset.key, child]));
    const children = items.map(({ key, make, update }) => {
      const child = kept.get(key) ?? make();
      child.dataset.key = key;
      update?.(child);
      return child;
    });
    if (children.some((child, i) => parent.children[i] !== child) || parent.childElementCount !== children.length)
      parent.replaceChildren(...children);
  };
}

function rareItems(run, act, stale) {
  const { job } = run;
  const wanted = isFinal(job) ? job.outputs.length : job.request.count;
  run.shown = settle(run.shown, run.previews, wanted);
  return Array.from({ length: wanted }, (_, index) => {
    const output = job.outputs[index];
    if (output)
      return {
        key: `${job.id}/${index}/${run.freshened}`,
        make: () => tile(job, output, previewOf(run, output), act, stale),
      };
    const preview = run.previews.get(run.shown[index]);
    return {
      key: `${job.id}/waiting/${index}`,
      make: waitingTile,
      update: (place) => preview && showPreview(place, preview),
    };
  });
}

/** The trials of the best previews, each in the place where it was `shown` before. */
function settle(shown, previews, count) {
  const worth = ({ bits, validity }) => bits * (validity ?? 1);
  const sorted = [...previews.values()].sort((a, b) => worth(b) - worth(a));
  const best = sorted.slice(0, count).map(({ trial }) => trial);
  const fresh = best.filter((trial) => !shown.includes(trial));
  return Array.from({ length: count }, (_, i) => (best.includes(shown[i]) ? shown[i] : fresh.shift()));
}

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

function sentence(job) {
  if (job.status === "failed") return `${job.error.title}. ${job.error.detail}`;
  if (job.status === "canceled") return "Canceled before there were images.";
  if (job.status !== "succeeded") return "They appear here as they are found.";
  return "Each with its own figures.";
}

function plainSentence({ concept }, plain) {
  if (plain?.problem) return `No plain samples: ${plain.problem}`;
  return plain ? `What the model draws for “${concept}” and nothing more.` : "To compare with.";
}
