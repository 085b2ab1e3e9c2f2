// The public API. Requests wait out what passes by itself: a service that is away, busy, or asks for a key.

import { answered, asked, away } from "./connection.js";
import { askForKey, authorization, has } from "./key.js";

const RETRY_S = 2;
const TEMPORARY = [429, 502, 503, 504]; // some of a proxy, with a page of its own

/** A problem of RFC 9457, as the service answered it. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail ?? body.title ?? `The service answered ${status}.`);
    this.status = status;
    this.type = body.type ?? "";
    this.title = body.title ?? "";
    this.errors = body.errors ?? [];
  }
}

/** What `read` makes of the response, as soon as there is one to go on with; a Problem otherwise. `until` ends tries. */
export async function send(path, { headers = {}, signal, until = signal, read = (answer) => answer, ...options } = {}) {
  for (;;) {
    until?.throwIfAborted();
    const key = authorization();
    try {
      const response = await fetch(path, { ...options, signal, headers: { ...headers, ...key } });
      answered();
      if (response.ok) return await read(response);
      await waitOut(response, key, until);
    } catch (error) {
      if (error instanceof Problem || until?.aborted) throw error;
      await away(until);
    }
  }
}

/** Returns when it is time to try again; throws the Problem that no waiting helps. */
async function waitOut(response, key, signal) {
  const problem = new Problem(response.status, await response.json().catch(() => ({})));
  if (problem.status === 401) {
    if (key.Authorization === authorization().Authorization) await askForKey(has());
  } else if (TEMPORARY.includes(problem.status)) {
    await asked(Number(response.headers.get("Retry-After")) || RETRY_S, sentence(problem), signal);
  } else {
    throw problem;
  }
}

const json = (path, options) => send(path, { ...options, read: (response) => response.json() });

export const readJob = (id, signal) => json(`jobs/${encodeURIComponent(id)}`, { signal });
export const readBaseline = (id, signal) => json(`jobs/${id}/baseline`, { signal });
export const cancelJob = (id) => json(`jobs/${id}/cancel`, { method: "POST" });
export const listJobs = (cursor) => json(`jobs?limit=24${cursor ? `&cursor=${cursor}` : ""}`);

/** Submits once, however often it has to be sent; a job that comes of it after `signal` has aborted is canceled. */
export function submitJob(request, signal) {
  const headers = { "Content-Type": "application/json", "Idempotency-Key": unique() };
  const sent = json("jobs", { method: "POST", body: JSON.stringify(request), headers, until: signal });
  sent.then(({ id }) => signal.aborted && cancelJob(id)).catch(() => {}); // whoever waits for it hears what is wrong
  return Promise.race([sent, end(signal)]);
}

/** A picture's address; the gateway's own files come from the host that the page came from. */
export function pictureUrl(url) {
  const { pathname, search } = new URL(url, document.baseURI);
  return pathname.startsWith(new URL("files/", document.baseURI).pathname) ? pathname + search : url;
}

/** Rejects when `signal` aborts. */
const end = (signal) =>
  new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }));

const sentence = ({ title, message }) => `${title || message}.`.replace("..", ".");

function unique() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
