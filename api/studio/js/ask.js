// The form: what to look for. Reads and fills the request; shows each problem at the field that it names.

/** @import { FieldProblem } from "rarebit" */
/** @import { Accepted, Job } from "./api.js" */
/** @import { State } from "./fields.js" */
import { announce } from "./announce.js";
import { Problem, submitJob } from "./api.js";
import { byId, changed, h, hide, input } from "./dom.js";
import { createFields } from "./fields.js";
import { createUndo } from "./undo.js";

const EXAMPLES = ["handbag", "chair", "lamp", "cup", "clock", "hat", "shoe"];
const REPEAT_MS = 500; // activations that follow each other faster are one intention: a double click, a key held down
const STOP_MS = 1000; // what takes longer can be stopped
const form = byId("ask");

/** @typedef {{ concept: string, prompt?: string | undefined } & { [field: string]: unknown }} Typed as it was typed: the service checks it */
/** @typedef {(request: Typed, signal: AbortSignal) => Promise<void>} Before */
/** @typedef {(job: Job) => void} Taken */

/**
 * For each job that the form or `send` makes: `before`, then `accepted`.
 * @param {{ bits: number }} dial
 * @param {Before} before
 * @param {Taken} accepted
 */
export function createAsk(dial, before, accepted) {
  const fields = createFields(dial);
  /** @param {State} state */
  const restore = (state) => {
    fields.restore(state);
    forget();
  };
  createUndo(form, fields.state, restore);
  /** @param {Accepted} request */
  const fill = (request) => {
    fields.fill(request);
    forget();
    changed(form);
  };
  /** @param {"toward" | "avoid"} way @param {string} output */
  const steer = (way, output) => {
    fields.steer(way, output);
    changed(form);
    announce(way === "toward" ? "The next run leans toward that image." : "The next run stays away from that image.");
  };
  const send = createSend(before, accepted);
  byId("examples").append(
    ...EXAMPLES.map((name) => h("button", { type: "button", text: name, on: { click: () => choose(name) } })),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(fields.read());
  });
  return { fill, send, steer, vary: fields.vary };
}

/** @param {string} name */
function choose(name) {
  input("concept").value = name;
  changed(input("concept"));
  byId("find").focus();
}

/**
 * One submission at a time, and one for each intention; one that takes its time can be stopped.
 * @param {Before} before
 * @param {Taken} accepted
 */
function createSend(before, accepted) {
  /** @type {AbortController | null} */
  let sending = null;
  let last = -Infinity;
  byId("stop").addEventListener("click", () => sending?.abort());
  return async (/** @type {Typed} */ request) => {
    const repeated = performance.now() - last < REPEAT_MS;
    last = performance.now();
    if (sending || repeated) return;
    sending = new AbortController();
    const { signal } = sending;
    forget();
    const offer = setTimeout(() => (byId("sending").hidden = false), STOP_MS);
    try {
      await before(request, signal);
      accepted(await submitJob(request, signal));
    } catch (error) {
      if (signal.aborted) announce("Stopped. No job goes on.");
      else if (error instanceof Problem) tell(error);
      else throw error;
    } finally {
      sending = null;
      clearTimeout(offer);
      hide(byId("sending"), true, byId("find"));
    }
  };
}

function forget() {
  for (const note of form.querySelectorAll(".field .problem")) note.remove();
  for (const field of form.querySelectorAll("[aria-invalid]")) {
    field.removeAttribute("aria-invalid");
    field.removeAttribute("aria-describedby");
  }
  byId("ask-problem").hidden = true;
}

/**
 * Each error goes to the field whose pointer begins its own; the first of these gets the focus.
 * @param {Problem} problem
 */
function tell(problem) {
  const left = problem.errors.filter((error) => !tellAtField(error));
  const sentence = left
    .map(({ pointer, parameter, detail }) => `${pointer ?? parameter ?? "the request"}: ${detail}`)
    .join(" ");
  byId("ask-problem").replaceChildren(
    problem.errors.length ? sentence : `${problem.title}. ${problem.message} `,
    ...explanation(problem),
  );
  byId("ask-problem").hidden = problem.errors.length > 0 && !left.length;
  /** @type {HTMLElement | null} */ (form.querySelector("[aria-invalid]"))?.focus();
}

/**
 * A link to the service's page about such problems, where it has one.
 * @param {Problem} problem
 */
function explanation({ type, errors }) {
  return type.startsWith("/problems/") && !errors.length
    ? [h("a", { href: type.slice(1), text: "What that means" })]
    : [];
}

/** @param {FieldProblem} problem */
function tellAtField({ pointer, detail }) {
  /** @type {HTMLElement[]} */
  const fields = Array.from(form.querySelectorAll("[data-pointer]"));
  const field = fields.find(({ dataset }) => pointer === dataset.pointer || pointer?.startsWith(`${dataset.pointer}/`));
  if (!field) return false;
  const note = h("p", { class: "problem", id: `${field.dataset.pointer?.slice(1)}-problem`, text: detail });
  field.setAttribute("aria-invalid", "true");
  field.setAttribute("aria-describedby", note.id);
  field.closest(".field")?.append(note);
  field.closest("details")?.setAttribute("open", "");
  return true;
}
