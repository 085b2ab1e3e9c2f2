// Whether the service answers, said in one banner; and the pauses before trying again.

import { whisper } from "./announce.js";
import { byId } from "./dom.js";

const LONGEST_S = 8;
let failures = 0;

/** The service has answered. */
export function answered() {
  failures = 0;
  say("");
}

/**
 * Waits after a request that reached nobody: 1, 2, 4, 8, 8 … seconds. Rejects when `signal` aborts.
 * @param {AbortSignal} [signal]
 */
export function away(signal) {
  const seconds = Math.min(LONGEST_S, 2 ** failures++);
  return pause(seconds, "The service does not answer.", signal);
}

/**
 * Waits as long as the service has asked for, saying why. Rejects when `signal` aborts.
 * @param {number} seconds
 * @param {string} why
 * @param {AbortSignal} [signal]
 */
export const asked = (seconds, why, signal) => pause(seconds, why, signal);

/** @param {number} seconds @param {string} why @param {AbortSignal} [signal] */
async function pause(seconds, why, signal) {
  if (byId("banner").hidden) whisper(why); // once, not with each second
  for (let left = Math.max(1, Math.ceil(seconds)); left > 0; left--) {
    say(`${why} Trying again in ${left} s.`);
    await sleep(1000, signal).catch((reason) => {
      say("");
      throw reason;
    });
  }
  say(`${why} Trying again.`);
}

/**
 * Rejects when `signal` aborts.
 * @param {number} ms
 * @param {AbortSignal} [signal]
 * @returns {Promise<void>}
 */
export function sleep(ms, signal) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}

/** @param {string} text */
function say(text) {
  const banner = byId("banner");
  if (banner.textContent !== text) banner.textContent = text;
  banner.hidden = !text;
}
