// One picture with its own figures and what can be done with it.

import { pictureUrl } from "./api.js";
import { h } from "./dom.js";
import { odds, percent } from "./words.js";

/** A result. `act` has point, more, away, replay and curl for the output; `stale()` is for an URL that has expired. */
export function tile(job, output, act, stale) {
  const name = `${job.concept}, image ${output.index + 1}`;
  const button = (text, verb, hint, kind) =>
    h("button", {
      type: "button",
      class: kind,
      title: hint,
      "aria-label": `${text}: ${name}`,
      text,
      on: { click: () => act[verb](output) },
    });
  const picture = h("img", {
    alt: `${name}: ${output.rarity.bits.toFixed(1)} bits`,
    width: output.width,
    height: output.height,
    decoding: "async",
    src: pictureUrl(output.url),
    on: { error: stale },
  });
  const download = h("a", {
    class: "quiet",
    href: pictureUrl(output.url),
    download: fileName(job, output),
    target: "_blank",
    rel: "noopener",
    "aria-label": `Download: ${name}`,
    text: "Download",
  });
  const on = {
    pointerenter: () => act.point(output.index),
    pointerleave: () => act.point(null),
    focusin: () => act.point(output.index),
    focusout: () => act.point(null),
  };
  return h(
    "figure",
    { class: "tile", on },
    h("div", { class: "frame" }, picture),
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
      button("Replay", "replay", "What makes this image again, and the same run again", "quiet"),
      download,
      button("curl", "curl", "Copy the request as a curl command", "quiet"),
    ),
  );
}

/** A plain sample: its figures, and nothing to do. */
export function plainTile(job, output, stale) {
  const picture = h("img", {
    alt: `Plain ${job.concept}: ${output.rarity.bits.toFixed(1)} bits`,
    width: output.width,
    height: output.height,
    src: pictureUrl(output.url),
    on: { error: stale },
  });
  return h(
    "figure",
    { class: "tile" },
    h("div", { class: "frame" }, picture),
    h("figcaption", { text: `${output.rarity.bits.toFixed(1)} bits` }),
  );
}

/** A place for a picture to come; shows the last preview of it. */
export function waitingTile(preview) {
  const frame = h("div", { class: "frame" });
  if (preview) frame.append(h("img", { alt: "Preview", src: preview.url }));
  const text = preview ? `${preview.bits.toFixed(1)} bits so far` : "";
  return h("figure", { class: preview ? "tile preview" : "tile waiting" }, frame, h("figcaption", { text }));
}

function figures({ rarity, validity, seed }) {
  const bits = h("strong", { text: `${rarity.bits.toFixed(1)} bits` });
  bits.style.setProperty("--out", Math.min(1, rarity.bits / 10).toFixed(2));
  return h(
    "figcaption",
    {},
    bits,
    h("span", { text: odds(rarity.bits) }),
    h("span", {
      text: `${percent(validity)} valid`,
      title: "How sure a judge, which the search never sees, is of the concept",
    }),
    h("span", { text: `seed ${seed}` }),
  );
}

function fileName({ concept, id }, { index, media_type: type }) {
  return `${concept.replace(/[^\p{L}\p{N}]+/gu, "-")}-${id.slice(0, 8)}-${index + 1}.${type.split("/")[1]}`;
}
