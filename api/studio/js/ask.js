// The form: what to look for. Reads and fills the request; shows each problem at the field that it names.

/** @import { FieldProblem } from "rarebit" */
/** @import { Accepted, Job } from "./api.js" */
import { announce } from "./announce.js";
import { Problem, submitJob } from "./api.js";
import { createDirections } from "./directions.js";
import { byId, h, hide, input } from "./dom.js";
import { createStart } from "./start.js";
import { targetBits } from "./words.js";

const EXAMPLES = ["handbag", "chair", "lamp", "cup", "clock", "hat", "shoe"];
const REPEAT_MS = 500; // activations that follow each other faster are one intention: a double click, a key held down
const STOP_MS = 1000; // what takes longer can be stopped
const form = byId("ask");
const mode = byId("mode", HTMLSelectElement);
/** @type {HTMLInputElement[]} */
const spaces = Array.from(form.querySelectorAll("[name=space]"));

/** @param {string} id */
const value = (id) => input(id).value.trim();

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
  const [toward, avoid, from] = [createDirections("toward"), createDirections("avoid"), createStart()];
  const read = () => ({
    concept: value("concept"),
    count: whole("count"),
    rarity: value("ladder") ? { ladder: value("ladder").split(",").map(decimal) } : { bits: dial.bits },
    steps: whole("steps"),
    seed: value("seed") === "" ? null : whole("seed"),
    mode: mode.value,
    space: spaces.filter((box) => box.checked).map((box) => box.value),
    toward: toward.all,
    avoid: avoid.all,
    image: from.picture,
    variety: Number(value("variety")),
  });
  /** @param {Accepted} request */
  const fill = (request) => {
    input("concept").value = request.concept;
    input("count").value = String(request.count);
    input("steps").value = String(request.steps);
    mode.value = request.mode;
    for (const box of spaces) box.checked = request.space.some((name) => name === box.value);
    input("seed").value = "";
    dial.bits = Math.round(2 * targetBits(request)) / 2;
    input("ladder").value = request.rarity.ladder?.join(", ") ?? "";
    [toward.all, avoid.all, from.picture] = [request.toward, request.avoid, request.image];
    input("variety").value = String(request.variety);
    forget();
  };
  const send = createSend(before, accepted);
  byId("examples").append(
    ...EXAMPLES.map((name) => h("button", { type: "button", text: name, on: { click: () => choose(name) } })),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(read());
  });
  return { fill, send, vary: from.vary };
}

/**
 * A number where there is one; what else was typed goes to the service, which says what is wrong with it.
 * @param {string} id
 */
function whole(id) {
  const text = value(id);
  return /^-?\d+$/.test(text) ? Number(text) : text;
}

/**
 * The same of a number with or without a point.
 * @param {string} text
 */
const decimal = (text) => (/^\s*\d+(\.\d+)?\s*$/.test(text) ? Number(text) : text.trim());

/** @param {string} name */
function choose(name) {
  input("concept").value = name;
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
