// Two pictures side by side, of one run or of two: the first waits below the pictures until the second is chosen.

/** @import { Job, Output } from "./api.js" */
import { whisper } from "./announce.js";
import { byId, dialog, h, hide, set } from "./dom.js";
import { lookOf } from "./pictures.js";
import { badges, figures } from "./tile.js";
import { wish } from "./words.js";

/** @typedef {{ job: Job, output: Output }} Pick */

export function createCompare() {
  const [waiting, both] = [byId("compared"), dialog("compare")];
  /** @type {Pick | null} */
  let first = null;
  /** @param {Pick | null} pick */
  const hold = (pick) => {
    first = pick;
    hide(waiting, !pick, byId("rare"));
    if (!pick) return;
    set(byId("compared-picture"), { src: lookOf(refOf(pick)) });
    byId("compared-name").textContent = nameOf(pick);
    whisper(`${nameOf(pick)}: now choose another one to compare it with.`);
  };
  byId("compared-end").addEventListener("click", () => hold(null));
  byId("compare-close").addEventListener("click", () => both.close());
  return (/** @type {Job} */ job, /** @type {Output} */ output) => {
    const pick = { job, output };
    if (!first || refOf(first) === refOf(pick)) return hold(first ? null : pick);
    byId("compare-pair").replaceChildren(side(first), side(pick));
    hold(null);
    both.showModal();
  };
}

/** @param {Pick} pick */
const refOf = ({ job, output }) => `${job.id}/${output.index}`;

/** @param {Pick} pick */
const nameOf = ({ job, output }) => `${job.concept}, image ${output.index + 1}`;

/** @param {Pick} pick */
function side(pick) {
  const { job, output } = pick;
  const { width, height } = output;
  return h(
    "figure",
    {},
    h("img", { src: lookOf(refOf(pick)), alt: "", width, height }),
    badges(job, output),
    h("h3", { text: nameOf(pick) }),
    h("p", { text: wish(job.request) }),
    figures(output),
  );
}
