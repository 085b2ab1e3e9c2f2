// Found things that are kept: each can be drawn again, in a sentence of one's own, saved as a file, and erased.

/** @import { FoundThing, Job, Output } from "./api.js" */
/** @import { Typed } from "./ask.js" */
import { announce } from "./announce.js";
import { eraseFound, keepFile, keepFound, listFound, pictureUrl, Problem } from "./api.js";
import { byId, dialog, h, hide, input } from "./dom.js";
import { bits, surety } from "./words.js";

/**
 * Shows the shelf; answers with what keeps an output there.
 * @param {(request: Typed) => void} send
 */
export function createShelf(send) {
  const [list, again] = [byId("kept-list"), dialog("again")];
  /** @type {FoundThing | null} */
  let chosen = null;
  const show = async () => {
    const { found } = await listFound();
    list.replaceChildren(...found.map(item));
    hide(byId("kept-none"), found.length > 0, byId("kept"));
  };
  /** @param {() => Promise<unknown>} act @param {string} done */
  const change = async (act, done) => {
    try {
      await act();
      await show();
      announce(done);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      announce(error.message);
    }
  };
  /** @param {FoundThing} found */
  const choose = (found) => {
    chosen = found;
    byId("again-name").textContent = found.name;
    input("again-prompt").value = found.prompt;
    again.showModal();
    input("again-prompt").select();
  };
  /** @param {FoundThing} found */
  const erase = (found) => {
    byId("kept").focus({ preventScroll: true });
    return change(() => eraseFound(found.id), `${found.name} is erased.`);
  };
  /** @param {FoundThing} found */
  const item = (found) => {
    /** @param {string} text @param {() => void} click */
    const button = (text, click) =>
      h("button", { type: "button", class: "quiet", text, "aria-label": `${text}: ${found.name}`, on: { click } });
    const { width, height, url, validity } = found;
    const save = { class: "quiet", href: pictureUrl(found.download_url), text: "Save", "aria-label": `Save: ${found.name}` };
    return h(
      "li",
      {},
      h("img", { src: pictureUrl(url), alt: "", width, height, loading: "lazy" }),
      h("strong", { text: found.name, title: found.name }),
      h("span", { text: `${bits(found.bits)}, ${surety(validity)}` }),
      h("p", {}, button("Draw again", () => choose(found)), h("a", save), button("Erase", () => erase(found))),
    );
  };
  byId("again-close").addEventListener("click", () => again.close());
  byId("again-form").addEventListener("submit", () => {
    if (!chosen) return;
    const { id, concept } = chosen;
    send({ concept, prompt: input("again-prompt").value, count: 2, found: { kept: id } });
  });
  input("kept-file").addEventListener("change", ({ target }) => {
    const [file] = /** @type {HTMLInputElement} */ (target).files ?? [];
    if (file) change(() => keepFile(file), `${file.name} is kept.`);
    /** @type {HTMLInputElement} */ (target).value = "";
  });
  show().catch((error) => {
    if (!(error instanceof Problem)) throw error;
  });
  return (/** @type {Job} */ job, /** @type {Output} */ output) => {
    const name = `${job.concept}, ${bits(output.rarity.bits)}`.slice(0, 100);
    return void change(() => keepFound(`${job.id}/${output.index}`, name), "Kept. It stays when this run is gone.");
  };
}
