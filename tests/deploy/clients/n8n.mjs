/** Runs a workflow as n8n does, as far as these nodes go: each takes the items of the one before it.
 *
 * Reads the workflow from standard input; writes the requests that it made and the items that it ends with. */

import { once } from 'node:events';
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';

const workflow = JSON.parse(await text(process.stdin));
const done = {}; // what each node gave, by its name
const requests = [];

const calls = createServer().listen(0, '127.0.0.1');
await once(calls, 'listening');
const called = once(calls, 'request'); // even before the node that waits for it
const execution = { resumeUrl: `http://127.0.0.1:${calls.address().port}/webhook-waiting/1` };

/** The value of a parameter: text, or with a leading = what its {{ expressions }} give, of their own type if alone. */
function value(parameter, json) {
  if (typeof parameter !== 'string' || !parameter.startsWith('=')) return parameter;
  const names = ['$json', '$execution', '$'];
  const given = [json, execution, (node) => ({ first: () => done[node][0] })];
  const read = (expression) => new Function(...names, `return (${expression})`)(...given);
  const parts = parameter.slice(1).split(/\{\{(.*?)\}\}(?!\})/s);
  if (parts.length === 3 && !parts[0].trim() && !parts[2].trim()) return read(parts[1]);
  return parts.map((part, index) => (index % 2 ? String(read(part)) : part)).join('');
}

async function request({ method = 'GET', url, authentication, genericAuthType, jsonBody, options }, { json }) {
  const headers = authentication && genericAuthType === 'httpBearerAuth' ? { authorization: 'Bearer KEY' } : {};
  const body = jsonBody && JSON.stringify(value(jsonBody, json));
  if (body) headers['content-type'] = 'application/json';
  const answer = await fetch(value(url, json), { method, headers, body });
  requests.push({ method, url: answer.url, body: body ?? null, key: 'authorization' in headers, status: answer.status });
  if (!answer.ok) throw new Error(await answer.text());
  if (options.response?.response.responseFormat !== 'file') return { json: await answer.json() };
  const data = Buffer.from(await answer.arrayBuffer()).toString('base64');
  return { json, binary: { data, mimeType: answer.headers.get('content-type') } };
}

async function resumed({ httpMethod }) {
  const [call, answer] = await called;
  if (call.method !== httpMethod) throw new Error(`called by ${call.method}`);
  const body = JSON.parse(await text(call));
  answer.end();
  return [[{ json: { headers: call.headers, body } }]];
}

const each = async (items, run) => [await Promise.all(items.map(run))];
const NODES = {
  manualTrigger: () => [[{ json: {} }]],
  set: ({ assignments }, items) =>
    each(items, ({ json }) => ({
      json: Object.fromEntries(assignments.assignments.map((one) => [one.name, value(one.value, json)])),
    })),
  httpRequest: (parameters, items) => each(items, (item) => request(parameters, item)),
  wait: resumed,
  if: ({ conditions: { conditions } }, items) => {
    const holds = ({ json }) => conditions.every((one) => value(one.leftValue, json) === one.rightValue);
    return [items.filter(holds), items.filter((item) => !holds(item))];
  },
  splitOut: ({ fieldToSplitOut }, items) => [items.flatMap(({ json }) => json[fieldToSplitOut].map((one) => ({ json: one })))],
  stopAndError: ({ errorMessage }, [{ json }]) => {
    throw new Error(value(errorMessage, json));
  },
};

async function run(name, items) {
  const { type, parameters } = workflow.nodes.find((node) => node.name === name);
  const outputs = await NODES[type.replace('n8n-nodes-base.', '')](parameters, items);
  done[name] = outputs.flat();
  for (const [index, next] of (workflow.connections[name]?.main ?? []).entries())
    if (outputs[index].length) for (const { node } of next) await run(node, outputs[index]);
}

let error = null;
await run('Start', []).catch((failure) => (error = failure.message));
calls.close();
console.log(JSON.stringify({ requests, items: done['Fetch the picture'] ?? [], error }));
