const FIRST_MS = 250;
const LONGEST_MS = 8_000;
const PATIENCE_MS = 60_000; // a gateway that asks for more is left to the caller
const TEMPORARY = [429, 502, 503, 504];

/** A fetch that sends again, at most `limit` times, what met a full queue, a rate limit or no answer; never after the
 * status `final`. */
export function patient(fetch: typeof globalThis.fetch, limit: number, final?: number): typeof globalThis.fetch {
  return async (input, init) => {
    const request = new Request(input, init);
    // The gateway makes one job of a key, however often it hears it.
    if (request.method === 'POST' && !request.headers.has('Idempotency-Key')) {
      request.headers.set('Idempotency-Key', crypto.randomUUID());
    }
    for (let failures = 1; ; failures++) {
      const answer = await fetch(request.clone()).catch((error: unknown) => error);
      const pauseMs = answer instanceof Response ? pauseAfter(answer, failures) : backoffMs(failures);
      const known = answer instanceof Response && answer.status === final;
      const over = known || failures > limit || request.signal.aborted || pauseMs === null;
      if (!over) await sleep(pauseMs, request.signal);
      else if (answer instanceof Response) return answer;
      else throw answer;
    }
  };
}

/** Exponential, half of it by chance. */
export function backoffMs(failures: number): number {
  return ((1 + Math.random()) / 2) * Math.min(LONGEST_MS, FIRST_MS * 2 ** failures);
}

export async function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  await new Promise<void>((resolve, reject) => {
    const stop = () => (clearTimeout(timer), reject(signal?.reason));
    const timer = setTimeout(() => (signal?.removeEventListener('abort', stop), resolve()), ms);
    signal?.addEventListener('abort', stop, { once: true });
  });
}

function pauseAfter(answer: Response, failures: number): number | null {
  const askedMs = 1000 * Number(answer.headers.get('Retry-After') ?? 0);
  return TEMPORARY.includes(answer.status) && askedMs <= PATIENCE_MS ? askedMs + backoffMs(failures) : null;
}
