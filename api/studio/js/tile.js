// One picture with its own figures and what can be done with it.

/** @import { Job, Output } from "./api.js" */
/** @import { Steer } from "./large.js" */
/** @import { Preview } from "./run.js" */
import { pictureUrl } from "./api.js";
import { h, set } from "./dom.js";
import { makeDraggable } from "./drop.js";
import { showLarge } from "./large.js";
import { odds, redness, surety, weaknesses } from "./words.js";

/**
 * @typedef {Record<"more" | "away" | "vary" | "keep" | "compare" | "replay" | "curl", (job: Job, output: Output) => void>
 *   & { steer: (way: "toward" | "avoid", output: string) => void, point: (index: number | null) => void }} Act what can be done with an output
 */

/**
 * A result, over the `preview` that it takes the place of, if there is one; `stale` is for an URL that has expired.
 * @param {Job} job
 * @param {Output} output
 * @param {Preview | undefined} preview
 * @param {Act} act
 * @param {() => void} stale
 */
export function tile(job, output, preview, act, stale) {
  const name = `${job.concept}, image ${output.index + 1}`;
  /** @param {string} text @param {Exclude<keyof Act, "steer" | "point">} verb @param {string} hint @param {string} [kind] */
  const button = (text, verb, hint, kind) =>
    h("button", {
      type: "button",
      class: kind,
      title: hint,
      "aria-label": `${text}: ${name}`,
      text,
      on: { click: () => act[verb](job, output) },
    });
  /** @param {Event} event */
  const refresh = (event) => {
    if (Date.now() < Date.parse(output.url_expires_at)) return;
    event.preventDefault(); // it would lead to an error page
    stale();
  };
  const download = h("a", {
    class: "quiet",
    href: pictureUrl(output.download_url),
    "aria-label": `Save: ${name}`,
    text: "Save",
    on: { click: refresh },
  });
  const on = {
    pointerenter: () => act.point(output.index),
    pointerleave: () => act.point(null),
    focusin: () => act.point(output.index),
    focusout: () => act.point(null),
  };
  const reference = `${job.id}/${output.index}`;
  const picture = frame(name, output, stale, preview, (way) => act.steer(way, reference));
  makeDraggable(picture, reference);
  return h(
    "figure",
    { class: "tile", on },
    picture,
    badges(job, output),
    figures(output),
    h(
      "div",
      { class: "steering" },
      button("More like this", "more", "A new job that leans toward this image"),
      button("Away from this", "away", "A new job that stays away from this image"),
    ),
    h(
      "div",
      { class: "small" },
      button("Vary", "vary", "Start the next job from this image, as near to it or far from it as you say", "quiet"),
      button("Keep", "keep", "Keep what was found, to draw it again in any sentence, also when this run is gone", "quiet"),
      button("Compare", "compare", "Show this image and another one side by side", "quiet"),
      button("Replay", "replay", "What makes this image again, and the same run again", "quiet"),
      download,
      button("curl", "curl", "Copy the request as a curl command", "quiet"),
    ),
  );
}

/**
 * A plain sample: its figures, and nothing to do.
 * @param {Job} job
 * @param {Output} output
 * @param {() => void} stale
 */
export function plainTile(job, output, stale) {
  return h(
    "figure",
    { class: "tile" },
    frame(`Plain ${job.concept}`, output, stale),
    h("figcaption", { text: `${output.rarity.bits.toFixed(1)} bits` }),
  );
}

/** A place for a picture to come. */
export function waitingTile() {
  const look = h("img", { class: "look", alt: "Preview", hidden: true });
  return h("figure", { class: "tile waiting" }, h("div", { class: "frame" }, look), h("figcaption"));
}

/**
 * Shows a preview in such a place, instead of the one before: the image stays, so that nothing flickers.
 * @param {HTMLElement} place
 * @param {Preview} preview
 */
export function showPreview(place, { url, bits }) {
  const [picture, caption] = [place.querySelector("img"), place.querySelector("figcaption")];
  if (!picture || !caption) return; // it is a result's by now
  place.className = "tile preview";
  set(picture, { src: url, hidden: null });
  caption.textContent = `${bits.toFixed(1)} bits so far`;
}

/**
 * The output's picture in its box, to be opened; the preview is beneath it until it has come.
 * @param {string} name
 * @param {Output} output
 * @param {() => void} stale
 * @param {Preview} [preview]
 * @param {Steer} [steer]
 */
function frame(name, output, stale, preview, steer) {
  const look = preview ? h("img", { class: "look", alt: "", src: preview.url, decoding: "sync" }) : null;
  const picture = h("img", {
    alt: `${name}: ${output.rarity.bits.toFixed(1)} bits, ${surety(output.validity)}`,
    width: output.width,
    height: output.height,
    src: pictureUrl(output.url),
    on: { load: () => look?.remove(), error: stale },
  });
  /** @param {MouseEvent} event */
  const open = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return; // a tab or a window of its own
    event.preventDefault();
    showLarge(picture, steer);
  };
  const title = steer ? "Show it by itself, or drag it to lean toward it" : "Show it by itself";
  return h("a", { class: "frame", href: pictureUrl(output.url), title, on: { click: open } }, look, picture);
}

/** @param {Job} job @param {Output} output */
export const badges = (job, output) =>
  h("p", { class: "badges" }, ...weaknesses(job, output).map((text) => h("span", { text })));

/** @param {Output} output */
export function figures({ rarity, validity, seed }) {
  const bits = h("strong", { text: `${rarity.bits.toFixed(1)} bits` });
  bits.style.setProperty("--out", redness(rarity.bits));
  return h(
    "figcaption",
    {},
    bits,
    h("span", { text: odds(rarity.bits) }),
    h("span", {
      class: validity === null ? "unknown" : null,
      text: surety(validity),
      title: "How sure a judge, which the search never sees, is of the concept",
    }),
    h("span", { text: `seed ${seed}` }),
  );
}
