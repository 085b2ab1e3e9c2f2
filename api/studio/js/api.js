// The public API. Requests wait out what passes by itself: a service that is away, busy, or asks for a key.

/** @import * as Api from "rarebit" */
import { answered, asked, away } from "./connection.js";
import { askForKey, authorization, has } from "./key.js";

const RETRY_S = 2;
const JSON_BODY = { "Content-Type": "application/json" };
const FILE_BODY = { "Content-Type": "application/octet-stream" };
const TEMPORARY = [429, 502, 503, 504]; // some of a proxy, with a page of its own

/** @template T @typedef {T extends object ? { [K in keyof T]-?: Complete<T[K]> } : T} Complete no field is left out of answers */
/** @typedef {Complete<Api.AcceptedRequest>} Accepted */
/** @typedef {Complete<Api.AcceptedDirection>} AcceptedDirection */
/** @typedef {Complete<Api.Job>} Job */
/** @typedef {Complete<Api.JobSummary>} JobSummary */
/** @typedef {Complete<Api.JobList>} JobList */
/** @typedef {Complete<Api.Output>} Output */
/** @typedef {Complete<Api.Progress>} Progress */
/** @typedef {Complete<Api.JobBaseline>} Baseline */
/** @typedef {Complete<Api.FoundThing>} FoundThing */
/** @typedef {Complete<Api.FoundList>} FoundList */

/** A problem of RFC 9457, as the service answered it. */
export class Problem extends Error {
  /** @param {number} status @param {Partial<Api.Problem>} body */
  constructor(status, body) {
    super(body.detail ?? body.title ?? `The service answered ${status}.`);
    this.status = status;
    this.type = body.type ?? "";
    this.title = body.title ?? "";
    this.errors = body.errors ?? [];
  }
}

/**
 * What `read` makes of the response, as soon as there is one to go on with; a Problem otherwise. `until` ends tries.
 * @template Answer
 * @param {string} path
 * @param {RequestInit & { headers?: Record<string, string>, signal?: AbortSignal, until?: AbortSignal }} options
 * @param {(response: Response) => Answer | Promise<Answer>} read
 */
export async function send(path, { headers = {}, signal, until = signal, ...options }, read) {
  for (;;) {
    until?.throwIfAborted();
    const key = authorization();
    try {
      const response = await fetch(path, { ...options, signal: signal ?? null, headers: { ...headers, ...key } });
      answered();
      if (response.ok) return await read(response);
      await waitOut(response, key, until);
    } catch (error) {
      if (error instanceof Problem || until?.aborted) throw error;
      await away(until);
    }
  }
}

/**
 * Returns when it is time to try again; throws the Problem that no waiting helps.
 * @param {Response} response
 * @param {{ Authorization?: string }} key
 * @param {AbortSignal} [signal]
 */
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

/** @param {Response} response */
const json = (response) => response.json();

/** @param {string} id @param {AbortSignal} [signal] @returns {Promise<Job>} */
export const readJob = (id, signal) => send(`jobs/${encodeURIComponent(id)}`, { signal }, json);

/** @param {string} id @param {AbortSignal} [signal] @returns {Promise<Baseline>} */
export const readBaseline = (id, signal) => send(`jobs/${id}/baseline`, { signal }, json);

/** @param {string} id @returns {Promise<Job>} */
export const cancelJob = (id) => send(`jobs/${id}/cancel`, { method: "POST" }, json);

/** @param {string | null} [cursor] @returns {Promise<JobList>} */
export const listJobs = (cursor) => send(`jobs?limit=24${cursor ? `&cursor=${cursor}` : ""}`, {}, json);

/** @returns {Promise<FoundList>} */
export const listFound = () => send("found", {}, json);

/** @param {string} output @param {string} name @returns {Promise<FoundThing>} */
export const keepFound = (output, name) =>
  send("found", { method: "POST", body: JSON.stringify({ output, name }), headers: JSON_BODY }, json);

/** @param {File} file @returns {Promise<FoundThing>} */
export const keepFile = (file) =>
  send(`found-files?name=${encodeURIComponent(file.name.slice(0, 100))}`, { method: "POST", body: file, headers: FILE_BODY }, json);

/** @param {string} id @returns {Promise<void>} */
export const eraseFound = (id) => send(`found/${id}`, { method: "DELETE" }, () => undefined);

/**
 * Submits once, however often it has to be sent; a job that comes of it after `signal` has aborted is canceled.
 * @param {unknown} request what was typed, which the service checks
 * @param {AbortSignal} signal
 * @returns {Promise<Job>}
 */
export function submitJob(request, signal) {
  const headers = { ...JSON_BODY, "Idempotency-Key": unique() };
  /** @type {Promise<Job>} */
  const sent = send("jobs", { method: "POST", body: JSON.stringify(request), headers, until: signal }, json);
  sent.then(({ id }) => (signal.aborted ? cancelJob(id) : null)).catch(() => {}); // whoever waits hears what is wrong
  return Promise.race([sent, end(signal)]);
}

/**
 * A picture's address; the gateway's own files come from the host that the page came from.
 * @param {string} url
 */
export function pictureUrl(url) {
  const { pathname, search } = new URL(url, document.baseURI);
  return pathname.startsWith(new URL("files/", document.baseURI).pathname) ? pathname + search : url;
}

/**
 * Rejects when `signal` aborts.
 * @param {AbortSignal} signal
 * @returns {Promise<never>}
 */
const end = (signal) =>
  new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }));

/** @param {Problem} problem */
const sentence = ({ title, message }) => `${title || message}.`.replace("..", ".");

function unique() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
