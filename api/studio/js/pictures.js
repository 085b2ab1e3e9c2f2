// Which output looks how, for the small pictures in chips; filled by whoever sees a job.

/** @import { JobSummary } from "./api.js" */
import { pictureUrl } from "./api.js";

/** @type {Map<string, string>} */
const urls = new Map();

/** @param {JobSummary} job */
export function remember(job) {
  for (const output of job.outputs) if (output) urls.set(`${job.id}/${output.index}`, pictureUrl(output.url));
}

/**
 * Where to find the output "JOB_ID/INDEX", if any job that was seen has it.
 * @param {string} reference
 */
export const lookOf = (reference) => urls.get(reference);
