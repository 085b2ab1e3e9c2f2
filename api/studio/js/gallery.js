// The ordinary beside the rare: plain samples of the concept, and the job's images as they come.

import { byId, h } from "./dom.js";
import { isFinal } from "./run.js";
import { plainTile, tile, waitingTile } from "./tile.js";
import { bits, targetBits } from "./words.js";

/** `act`: see tile; `askForPlain()` makes plain samples; `stale()` is for an URL that has expired. */
export function createGallery(act, askForPlain, stale) {
  const host = byId("gallery");
  const ordinary = h("div", { class: "tiles small" });
  const rare = h("div", { class: "tiles" });
  const [ordinaryNote, rareTitle, rareNote] = [h("p", {}), h("h2", {}), h("p", {})];
  const offer = h("button", { type: "button", text: "Show plain samples", on: { click: askForPlain } });
  host.append(
    h(
      "section",
      { class: "ordinary", "aria-label": "Plain samples" },
      h("h2", { text: "The ordinary" }),
      ordinaryNote,
      ordinary,
      offer,
    ),
    h("section", { class: "rare", "aria-label": "Rare images" }, rareTitle, rareNote, rare),
  );
  const drawPlain = keeping(ordinary);
  const drawRare = keeping(rare);
  return ({ run, plain }) => {
    host.hidden = !run.job;
    if (!run.job) return;
    const { job } = run;
    rareTitle.textContent = `${job.concept}, ${bits(targetBits(job.request))} out`;
    rareNote.textContent = sentence(job);
    drawRare(rareItems(run, act, stale));
    ordinaryNote.textContent = plainSentence(job, plain);
    offer.hidden = Boolean(plain);
    drawPlain(plainItems(plain, stale));
  };
}

/** Replaces the children that stand for something else than before; the others, and the focus in them, stay. */
function keeping(parent) {
  return (items) => {
    const kept = new Map(Array.from(parent.children, (child) => [child.dataset.key, child]));
    const children = items.map(({ key, make }) => {
      const child = kept.get(key) ?? make();
      child.dataset.key = key;
      return child;
    });
    if (children.some((child, i) => parent.children[i] !== child) || parent.childElementCount !== children.length)
      parent.replaceChildren(...children);
  };
}

function rareItems(run, act, stale) {
  const { job } = run;
  const previews = [...run.previews.values()].sort((a, b) => b.validity * b.bits - a.validity * a.bits);
  const wanted = isFinal(job) ? job.outputs.length : job.request.count;
  return Array.from({ length: wanted }, (_, index) => {
    const output = job.outputs[index];
    if (output) return { key: `${job.id}/${index}/${run.freshened}`, make: () => tile(job, output, act, stale) };
    const preview = previews[index];
    return { key: `${index}/${preview?.trial}/${preview?.bits}`, make: () => waitingTile(preview) };
  });
}

function plainItems(plain, stale) {
  if (!plain?.job) return [];
  const { job } = plain;
  if (!isFinal(job))
    return Array.from({ length: job.request.count }, (_, i) => ({ key: `waiting/${i}`, make: () => waitingTile() }));
  return job.outputs.map((output) => ({
    key: `${job.id}/${output.index}/${plain.freshened}`,
    make: () => plainTile(job, output, stale),
  }));
}

function sentence(job) {
  if (job.status === "failed") return `${job.error.title}. ${job.error.detail}`;
  if (job.status === "canceled") return "Canceled before there were images.";
  if (job.status !== "succeeded") return "They appear here as they are found.";
  return ["Each with its own figures.", ...job.warnings].join(" ");
}

function plainSentence({ concept }, plain) {
  if (plain?.problem) return `No plain samples: ${plain.problem}`;
  return plain ? `What the model draws for “${concept}” and nothing more.` : "To compare with.";
}
