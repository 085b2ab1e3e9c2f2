/** The laws that test_typescript.py names, each against the gateway at RAREBIT_URL. */

import assert from 'node:assert/strict';
import { type JobEvent, JobFailed, Rarebit, RarebitError, exposuresForget, exposuresRead, jobsErase, jobsList } from '../../../deploy/clients/typescript/src/index.ts';

const url = { baseUrl: process.env.RAREBIT_URL };
const rarebit = new Rarebit(url);
const slow = { concept: 'chair', steps: 40, metadata: { step_s: '0.05' } }; // two seconds of the stand-in's

const laws: Record<string, () => Promise<void>> = {
  async generate() {
    const steps: number[] = [];
    const onProgress = ({ phase, step }: { phase: string; step: number }) => phase === 'optimize' && steps.push(step);
    const images = await rarebit.generate({ concept: 'chair', count: 2, steps: 3, seed: 7 }, { onProgress });
    assert.deepEqual(steps, [0, 1, 2]);
    assert.deepEqual(images.map(({ output }) => [output.seed, output.rarity.bits]), [[7, 10], [8, 10]]);
    assert.deepEqual(images.map(({ blob, output }) => [blob.size, blob.type]), images.map(({ output }) => [output.bytes, 'image/png']));
    const [first] = images;
    const next = await rarebit.submit({ concept: 'chair', steps: 1, toward: [{ output: first!.ref }] });
    assert.equal((await rarebit.wait(next.id)).status, 'succeeded');
  },

  async restart() {
    const patient = new Rarebit({ ...url, retries: 10 }); // of a gateway that starts on a busy machine
    const { id } = await patient.submit(slow);
    const heard: JobEvent[] = [];
    for await (const event of patient.events(id)) {
      if (heard.push(event) === 5) console.log('restart the gateway');
    }
    const steps = heard.flatMap(({ event, data }) => (event === 'progress' && data.phase === 'optimize' ? [data.step] : []));
    assert.deepEqual(steps, [...Array(40).keys()]);
    assert.equal(new Set(heard.map((event) => event.id)).size, heard.length);
    assert.equal(heard.at(-1)!.event, 'status');
  },

  async abort() {
    const stop = new AbortController();
    const making = rarebit.generate({ ...slow, concept: 'aborted chair' }, { onProgress: () => stop.abort(), signal: stop.signal });
    await assert.rejects(making, { name: 'AbortError' });
    const { data } = await jobsList({ client: rarebit.client, query: { limit: 1 }, throwOnError: true });
    assert.equal(data.jobs[0]!.concept, 'aborted chair');
    assert.equal((await rarebit.wait(data.jobs[0]!.id)).status, 'canceled');
  },

  async errors() {
    const refused = (error: RarebitError) => error.name === 'invalid_request' && error.fields[0]!.pointer === '/count';
    await assert.rejects(rarebit.submit({ concept: 'chair', count: 17 }), refused);
    const unknown = { job_id: '0'.repeat(32) };
    await assert.rejects(jobsErase({ client: rarebit.client, path: unknown }), { name: 'not_found', status: 404 });
    await assert.rejects(rarebit.events(unknown.job_id).next(), { name: 'not_found' });
    const { id } = await rarebit.submit(slow);
    await rarebit.cancel(id);
    const canceled = await rarebit.wait(id);
    await assert.rejects(rarebit.images(canceled), (error: JobFailed) => error.code === 'canceled');
    await assert.rejects(new Rarebit({ baseUrl: 'http://127.0.0.1:9', retries: 1 }).wait(id), /fetch failed/);
  },

  async dots() {
    for (const key of ['..', '.', '']) {
      const other = { client: rarebit.client, path: { key } };
      const calls = [() => exposuresRead(other), () => exposuresForget(other), () => rarebit.wait(key), () => rarebit.events(key).next()];
      const refused = (error: unknown) => error instanceof RarebitError && error.name === 'invalid_request' && /dots alone/.test(error.message);
      for (const call of calls) await assert.rejects(call, refused);
    }
    const odd = await exposuresRead({ client: rarebit.client, path: { key: 'a/../b' } });
    assert.equal(odd.data!.key, 'a/../b');
  },

  async impatient() {
    const behindProxy = new Rarebit({ baseUrl: process.env.RAREBIT_PROXY, retries: 0 });
    const { id } = await behindProxy.submit({ ...slow, metadata: { step_s: '0.15' } });
    assert.equal((await behindProxy.wait(id)).status, 'succeeded');
  },

  async lost() {
    const real = globalThis.fetch;
    let lost = 2;
    globalThis.fetch = async (...request) => {
      const answer = await real(...request);
      if (lost-- > 0) throw new TypeError('the answer is lost');
      return answer;
    };
    const lossy = new Rarebit(url);
    const { id } = await lossy.submit({ concept: 'once-only chair of node', steps: 1 });
    const { data } = await jobsList({ client: lossy.client, throwOnError: true });
    assert.deepEqual(data.jobs.flatMap((job) => (job.concept === 'once-only chair of node' ? [job.id] : [])), [id]);
  },
};

await laws[process.argv[2]!]!();
