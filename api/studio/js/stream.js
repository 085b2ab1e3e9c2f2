// Server-sent events by fetch, which can carry a key as EventSource cannot; resumes after the last event it has.

/** @import * as Api from "rarebit" */
/** @import { Complete } from "./api.js" */
import { send } from "./api.js";
import { away, sleep } from "./connection.js";

const SILENCE_MS = 40_000; // the service writes a comment every 15 s

/**
 * @typedef {{ id?: string } & (
 *   | { kind: "status", data: Complete<Api.StatusChange> }
 *   | { kind: "progress", data: Complete<Api.WatchedProgress> }
 *   | { kind: "output", data: Complete<Api.Output> }
 *   | { kind: "preview", data: Complete<Api.Preview> }
 * )} JobEvent
 */

/**
 * The events of a job, over as many connections as it takes, until the service says that was all.
 * @param {string} path
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<JobEvent>}
 */
export async function* follow(path, signal) {
  /** @type {string | null} */
  let last = null;
  for (;;) {
    /** @type {Response} */
    const response = await send(path, { headers: last ? { "Last-Event-ID": last } : {}, signal }, (answer) => answer);
    if (!response.body) return; // 204
    /** @type {string | null} */
    const before = last;
    try {
      for await (const event of eventsOf(response.body)) {
        last = event.id ?? last;
        yield event;
      }
    } catch (error) {
      if (signal.aborted) throw error;
      await away(signal);
      continue;
    }
    if (last === null) return;
    if (last === before) await sleep(1000, signal);
  }
}

/**
 * @param {ReadableStream<Uint8Array<ArrayBuffer>>} body
 * @returns {AsyncGenerator<JobEvent>}
 */
async function* eventsOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { done, value } = await withinSilence(reader);
      if (done) return;
      const blocks = (text + value.replaceAll("\r", "")).split("\n\n");
      text = blocks.pop() ?? "";
      yield* blocks.map(parse).filter((event) => event !== null);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** @param {ReadableStreamDefaultReader<string>} reader */
async function withinSilence(reader) {
  let timer = 0;
  /** @type {Promise<never>} */
  const silence = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("silence")), SILENCE_MS);
  });
  return Promise.race([reader.read(), silence]).finally(() => clearTimeout(timer));
}

/**
 * The event that the lines say, or none: comments keep the connection awake.
 * @param {string} block
 * @returns {JobEvent | null}
 */
function parse(block) {
  const fields = Object.fromEntries(block.split("\n").map((line) => /^(\w*): ?(.*)$/.exec(line)?.slice(1) ?? []));
  return "data" in fields ? { id: fields.id, kind: fields.event, data: JSON.parse(fields.data) } : null;
}
