/** The laws of test_openai.py by OpenAI's own client, each against the gateway at RAREBIT_URL. */

import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout } from 'node:timers/promises';
import OpenAI, { toFile } from 'openai';

const [root, any] = [process.env.RAREBIT_URL, 'none'];
const { images, models } = new OpenAI({ baseURL: `${root}/v1`, apiKey: any, maxRetries: 0 });
const job = async (id) => (await fetch(`${root}/jobs/${id}`)).json();

test('images come with their figures', async () => {
  const made = await images.generate({ prompt: 'chair', n: 2, steps: 3, seed: 7, rarity: { bits: 12 } });
  assert.deepEqual(made.data.map(({ seed, bits, validity }) => [seed, bits, validity]), [[7, 10, 0.9], [8, 10, 0.9]]);
  const inline = await images.generate({ prompt: 'chair', steps: 3, seed: 7, response_format: 'b64_json' });
  const fetched = await (await fetch(made.data[0].url)).arrayBuffer();
  assert.equal(Buffer.from(fetched).toString('base64'), inline.data[0].b64_json);
  const { request } = await job(made.id);
  assert.deepEqual([request.concept, request.count, request.rarity.bits], ['chair', 2, 12]);
  assert.deepEqual((await models.list()).data.map(({ id }) => id), ['rarebit']);
});

test('variations start from the picture', async () => {
  const image = await toFile(Buffer.from(process.env.PICTURE, 'base64'), 'cup.png', { type: 'image/png' });
  const more = { prompt: 'cup', steps: 1, rarity: { bits: 6 }, avoid: [{ text: 'red' }, { text: 'blue' }], space: ['token', 'lora'] };
  const made = await images.createVariation({ image, n: 2, size: '256x256', ...more });
  const { request } = await job(made.id);
  assert.deepEqual([made.data.length, request.size, request.concept, request.rarity.bits], [2, 256, 'cup', 6]);
  assert.deepEqual(request.avoid.map(({ text }) => text), ['red', 'blue']);
  assert.deepEqual([request.space, request.image.upload.length], [['token', 'lora'], 32]);
});

test('what cannot be had is refused by name', async () => {
  const refused = (options) => images.generate({ prompt: 'chair', ...options }).then(assert.fail, (error) => error);
  const { status, param, code, type } = await refused({ rarity: { bits: 31 } });
  assert.deepEqual([status, param, code, type], [400, 'rarity.bits', 'invalid_request', 'invalid_request_error']);
  assert.match((await refused({ model: 'dall-e-3' })).message, /model is none of rarebit: dall-e-3/);
});

test('client that leaves cancels its job', async () => {
  const stop = new AbortController();
  const user = `left ${process.pid}`;
  const making = images.generate({ prompt: 'chair', steps: 40, metadata: { step_s: '0.15' }, user }, { signal: stop.signal });
  const mine = async () => (await (await fetch(`${root}/jobs`)).json()).jobs.find(({ metadata }) => metadata.user === user);
  while (!(await mine())) await setTimeout(20);
  stop.abort();
  await assert.rejects(making, { name: 'Error' });
  while ((await mine()).status !== 'canceled') await setTimeout(20);
});
