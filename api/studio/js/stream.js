// Server-sent events by fetch, which can carry a key as EventSource cannot; resumes after the last event it has.

import { send } from "./api.js";
import { away, sleep } from "./connection.js";

const SILENCE_MS = 40_000; // the service writes a comment every 15 s

/** The events {id, kind, data} of a job, over as many connections as it takes, until the service says that was all. */
export async function* follow(path, signal) {
  let last = null;
  for (;;) {
    const response = await send(path, { headers: last ? { "Last-Event-ID": last } : {}, signal });
    if (response.status === 204) return;
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

async function* eventsOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { done, value } = await withinSilence(reader);
      if (done) return;
      const blocks = (text + value.replaceAll("\r", "")).split("\n\n");
      text = blocks.pop();
      yield* blocks.map(parse).filter((event) => event.data !== undefined);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

async function withinSilence(reader) {
  let timer;
  const silence = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("silence")), SILENCE_MS);
  });
  return Promise.race([reader.read(), silence]).finally(() => clearTimeout(timer));
}

function parse(block) {
  const event = { kind: "message" };
  for (const line of block.split("\n")) {
    const [, name, value] = /^(\w*): ?(.*)$/.exec(line) ?? [];
    if (name === "id") event.id = value;
    if (name === "event") event.kind = value;
    if (name === "data") event.data = JSON.parse(value);
  }
  return event;
}
