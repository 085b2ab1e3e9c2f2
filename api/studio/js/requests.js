// Job requests made from other jobs' requests.

const SERVICES_OWN = new Set(["run_within", "expires_in", "metadata", "priority"]);
const PLAIN = { studio: "plain" }; // metadata by which this page knows its own jobs for plain samples

const isEmpty = (value) => value === null || (typeof value === "object" && Object.keys(value).length === 0);

/** What of an accepted request asks for the same again, its seed included. */
export function again(request) {
  return compact(Object.fromEntries(Object.entries(request).filter(([name]) => !SERVICES_OWN.has(name))));
}

/** The same from fresh noise, toward the output or away from it. The last picture to lean to is the only one. */
export function steered(job, index, way) {
  const request = again(job.request);
  delete request.seed;
  const output = `${job.id}/${index}`;
  const others = (list = []) => list.filter((one) => one.output !== output);
  const toward = others(request.toward).filter((one) => way === "avoid" || one.text);
  const lists = { toward, avoid: others(request.avoid).slice(way === "avoid" ? -7 : -8) };
  lists[way] = [...lists[way], { output }];
  return compact({ ...request, ...lists, mode: "calibrated" });
}

/** Plain samples of the concept: the first step is measured before anything is learnt. */
export function plain({ concept, prompt }, count) {
  return { concept, prompt, count, trials: count, steps: 1, rarity: { percentile: 50 }, metadata: PLAIN };
}

export const isPlain = (job) => job.metadata.studio === PLAIN.studio;

/** A command that sends the request; a key is named, never written. */
export function curl(request, withKey) {
  const words = ["curl -s", new URL("jobs", document.baseURI).href, "-H 'content-type: application/json'"];
  if (withKey) words.push('-H "authorization: Bearer $RAREBIT_KEY"');
  return [...words, `-d '${JSON.stringify(request).replaceAll("'", "'\\''")}'`].join(" \\\n  ");
}

function compact(request) {
  return Object.fromEntries(
    Object.entries(request)
      .map(([name, value]) => [name, dense(value)])
      .filter(([, value]) => !isEmpty(value)),
  );
}

/** Documents without the fields that are null. */
function dense(value) {
  if (Array.isArray(value)) return value.map(dense);
  if (value === null || typeof value !== "object") return value;
  return compact(value);
}
