/** Rarebit for programs: `await new Rarebit().generate({ concept: 'handbag', count: 4 })`. */

import { JobFailed, RarebitError, errorIn, errorOf, refuseDots } from './errors.ts';
import { type JobEvent, hasEnded } from './events.ts';
import { type Client, createClient } from './generated/client/index.ts';
import { imagesUpload, jobsCancel, jobsRead, jobsStream, jobsSubmit } from './generated/sdk.gen.ts';
import type { Job, JobRequest, Output, Upload, WatchedProgress } from './generated/types.gen.ts';
import { backoffMs, patient, sleep } from './retries.ts';

export * from './errors.ts';
export * from './events.ts';
export * from './generated/index.ts';

/** One picture of a job, with its own figures; `ref` names it in `toward`, `avoid`, `image` and histories. */
export type Image = { blob: Blob; output: Output; job: Job; ref: string };

/** A job as `POST /jobs` takes it; a picture to start from may be there itself. */
export type PictureRequest = Omit<JobRequest, 'image'> & { image?: JobRequest['image'] | Blob };

export type RarebitOptions = { baseUrl?: string; apiKey?: string; retries?: number };

type Stopped = { signal?: AbortSignal };

const LONGEST_WAIT_S = 40; // of the gateway's 50: whatever is between has time left
const TIMED_OUT = 504; // a proxy did not wait for the gateway's answer

export class Rarebit {
  /** For the generated calls: `jobsList({ client: rarebit.client })`. They send again and throw as the others do. */
  readonly client: Client;
  readonly #retries: number;
  readonly #fetch: typeof fetch;
  readonly #held: typeof fetch;

  constructor({ baseUrl = 'http://127.0.0.1:8000', apiKey, retries = 5 }: RarebitOptions = {}) {
    this.#retries = retries;
    this.#fetch = patient(fetch, retries);
    this.#held = patient(fetch, retries, TIMED_OUT);
    this.client = createClient({ baseUrl, auth: apiKey, fetch: this.#fetch, throwOnError: true });
    this.client.interceptors.request.use(refuseDots);
    this.client.interceptors.error.use(errorOf);
  }

  /** Make pictures, telling `onProgress` meanwhile; whatever ends the call early, `signal` too, cancels the job. */
  async generate(
    request: PictureRequest,
    { onProgress, signal }: Stopped & { onProgress?: (progress: WatchedProgress) => void } = {},
  ): Promise<Image[]> {
    const { id } = await this.submit(request, { signal });
    try {
      for await (const event of this.events(id, { signal })) if (event.event === 'progress') onProgress?.(event.data);
      return await this.images(await this.wait(id, { signal }), { signal });
    } catch (error) {
      if (!(error instanceof JobFailed)) await this.cancel(id).catch(() => {});
      throw error;
    }
  }

  /** Queue a job; it is one job, however often the request has to be sent. */
  async submit({ image, ...request }: PictureRequest, { signal }: Stopped = {}): Promise<Job> {
    const body = { ...request, image: image instanceof Blob ? { upload: (await this.upload(image)).id } : image };
    return (await jobsSubmit({ client: this.client, body, signal, throwOnError: true })).data;
  }

  /** Keep a PNG, JPEG or WebP, of that `type`, for jobs to start from. */
  async upload(picture: Blob): Promise<Upload> {
    const sent = { body: picture, headers: { 'Content-Type': picture.type } };
    return (await imagesUpload({ client: this.client, ...sent, throwOnError: true })).data;
  }

  /** The job when it has ended, in whichever way. */
  async wait(jobId: string, { signal }: Stopped = {}): Promise<Job> {
    for (let wait = LONGEST_WAIT_S; ; ) {
      const options = { path: { job_id: jobId }, query: { wait }, signal, fetch: wait > 1 ? this.#held : this.#fetch };
      try {
        const { data: job } = await jobsRead({ client: this.client, ...options, throwOnError: true });
        if (hasEnded(job.status)) return job;
      } catch (error) {
        if (wait === 1 || !(error instanceof RarebitError) || error.status !== TIMED_OUT) throw error;
        wait = Math.floor(wait / 2); // a proxy has less patience
      }
    }
  }

  /** Ask the job to stop; harmless when it has ended. */
  async cancel(jobId: string): Promise<Job> {
    return (await jobsCancel({ client: this.client, path: { job_id: jobId }, throwOnError: true })).data;
  }

  /** The job's pictures, fetched while its URLs last; JobFailed where it ended without any. */
  async images(job: Job, { signal }: Stopped = {}): Promise<Image[]> {
    if (job.status !== 'succeeded') throw new JobFailed(job);
    return Promise.all(
      job.outputs.map(async (output) => {
        const response = await this.#fetch(output.url, { signal }); // signed: the store never sees the key
        if (!response.ok) throw await errorIn(response);
        return { blob: await response.blob(), output, job, ref: `${job.id}/${output.index}` };
      }),
    );
  }

  /** What happens to the job, from its start or after the event `after`, until it has ended. A broken connection is
   * opened again and goes on after the last event: none is lost, none comes twice. */
  async *events(
    jobId: string,
    { after, previews = false, signal }: Stopped & { after?: string; previews?: boolean } = {},
  ): AsyncGenerator<JobEvent, void> {
    const left = new AbortController();
    const stop = signal ? AbortSignal.any([signal, left.signal]) : left.signal;
    try {
      for (let failures = 0; failures <= this.#retries; failures++) {
        const heard: { event?: unknown; answer?: Response; error?: unknown } = {};
        const { stream } = await jobsStream({
          client: this.client,
          path: { job_id: jobId },
          query: { previews },
          headers: after ? { 'Last-Event-ID': after } : {},
          signal: stop,
          fetch: async (...request) => (heard.answer = await this.#fetch(...request)),
          sseMaxRetryAttempts: 1,
          onSseEvent: (event) => (heard.event = event),
          onSseError: (error) => (heard.error = error),
        });
        for await (const _ of stream) {
          const event = heard.event as JobEvent;
          [after, failures] = [event.id, 0];
          yield event;
          if (event.event === 'status' && hasEnded(event.data.status)) return;
        }
        signal?.throwIfAborted();
        if (!heard.answer) throw heard.error;
        if (!heard.answer.ok) throw await errorIn(heard.answer);
        if (heard.answer.status === 204) return;
        await sleep(backoffMs(failures), signal);
      }
    } finally {
      left.abort(); // whoever leaves early leaves no connection behind
    }
    throw new RarebitError({ type: 'unavailable', title: 'The event stream ends before the job does', status: 503 });
  }
}
