// The form: what to look for. Reads and fills the request; shows each problem at the field that it names.

import { Problem, submitJob } from "./api.js";
import { createDirections } from "./directions.js";
import { byId, h } from "./dom.js";
import { targetBits } from "./words.js";

const EXAMPLES = ["handbag", "chair", "lamp", "cup", "clock", "hat", "shoe"];
const form = byId("ask");
const value = (id) => byId(id).value.trim();

/** `dial` has bits. For each job that the form or `send` makes: `before(request, signal)`, then `accepted(job)`. */
export function createAsk(dial, before, accepted) {
  const [toward, avoid] = [createDirections("toward"), createDirections("avoid")];
  const read = () => ({
    concept: value("concept"),
    count: whole("count"),
    rarity: { bits: dial.bits },
    steps: whole("steps"),
    seed: value("seed") === "" ? null : whole("seed"),
    mode: value("mode"),
    space: Array.from(form.querySelectorAll("[name=space]:checked"), (box) => box.value),
    toward: toward.all,
    avoid: avoid.all,
  });
  const fill = (request) => {
    for (const name of ["concept", "count", "steps", "mode"]) byId(name).value = request[name];
    for (const box of form.querySelectorAll("[name=space]")) box.checked = request.space.includes(box.value);
    byId("seed").value = "";
    dial.bits = Math.round(2 * targetBits(request)) / 2;
    [toward.all, avoid.all] = [request.toward, request.avoid];
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
  return { fill, send };
}

/** A number where there is one; what else was typed goes to the service, which says what is wrong with it. */
function whole(id) {
  const text = value(id);
  return /^-?\d+$/.test(text) ? Number(text) : text;
}

function choose(name) {
  byId("concept").value = name;
  byId("find").focus();
}

/** One submission at a time; the button stops one that waits for the service. */
function createSend(before, accepted) {
  const button = byId("find");
  let sending = null;
  button.addEventListener("click", (event) => {
    if (!sending) return;
    event.preventDefault();
    sending.abort();
  });
  return async (request) => {
    if (sending) return;
    sending = new AbortController();
    forget();
    button.textContent = "Sending. Stop";
    try {
      await before(request, sending.signal);
      accepted(await submitJob(request, sending.signal));
    } catch (error) {
      if (error instanceof Problem) tell(error);
      else if (!sending.signal.aborted) throw error;
    } finally {
      sending = null;
      button.textContent = "Find them";
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

/** Each error goes to the field whose pointer begins its own; the first of these gets the focus. */
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
  form.querySelector("[aria-invalid]")?.focus();
}

/** A link to the service's page about such problems, where it has one. */
function explanation({ type, errors }) {
  return type.startsWith("/problems/") && !errors.length
    ? [h("a", { href: type.slice(1), text: "What that means" })]
    : [];
}

function tellAtField({ pointer, detail }) {
  const field = Array.from(form.querySelectorAll("[data-pointer]")).find(
    ({ dataset }) => pointer === dataset.pointer || pointer?.startsWith(`${dataset.pointer}/`),
  );
  if (!field) return false;
  const note = h("p", { class: "problem", id: `${field.dataset.pointer.slice(1)}-problem`, text: detail });
  field.setAttribute("aria-invalid", "true");
  field.setAttribute("aria-describedby", note.id);
  field.closest(".field").append(note);
  field.closest("details")?.setAttribute("open", "");
  return true;
}
