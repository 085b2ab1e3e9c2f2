// What was looked for before: the service's own list of jobs, newest first.

/** @import { JobList, JobSummary } from "./api.js" */
import { Problem, listJobs, pictureUrl } from "./api.js";
import { sleep } from "./connection.js";
import { byId, each, h, set } from "./dom.js";
import { remember } from "./pictures.js";
import { isPlain } from "./requests.js";
import { isFinal } from "./run.js";
import { ago, bits, reached, targetBits } from "./words.js";

const PICTURES = 4;
const LOOK_MS = 5000; // between two looks at jobs that go on

/** Shows the first page; `refresh(openId)` shows it anew, with the open job marked, and `update(job)` how far one is. */
export function createHistory() {
  const [list, more] = [byId("history-list"), byId("history-more")];
  /** @type {Map<string, { link: HTMLElement, job: JobSummary, look: string }>} */
  const listed = new Map(); // by their ids; `look` is how far the job is shown to be
  /** @type {string | null} */
  let cursor = null;
  /** @type {string | undefined} */
  let open;
  const showOthers = () => {
    const others = [...listed.values()].filter(({ job }) => !isFinal(job) && job.id !== open);
    byId("others").hidden = !others.length;
    each(byId("others-list"), "a", others, (link, { job }) => {
      set(link, { href: `#/jobs/${job.id}` }).textContent = job.concept;
    });
  };
  /** @param {JobSummary} job */
  const update = (job) => {
    const [one, look] = [listed.get(job.id), `${job.status} ${job.outputs.filter(Boolean).length}`];
    if (!one || one.look === look) return;
    Object.assign(one, { look, job });
    one.link.replaceChildren(...contents(job)); // the link stays, and the focus on it
    showOthers();
  };
  /** @param {JobList} page */
  const add = (page) => {
    for (const job of page.jobs.filter((job) => !isPlain(job))) {
      const link = h("a", { href: `#/jobs/${job.id}`, "aria-current": job.id === open ? "true" : null });
      list.append(h("li", {}, link));
      listed.set(job.id, { link, job, look: "" });
      update(job);
    }
    page.jobs.forEach(remember);
    cursor = page.next_cursor;
    more.hidden = !cursor;
    byId("history").classList.toggle("empty", !list.childElementCount);
  };
  more.addEventListener("click", async () => {
    const [before, from] = [list.childElementCount, cursor];
    const page = await listJobs(from);
    if (cursor !== from) return; // another click, or a refresh, was faster
    add(page);
    list.children[before]?.querySelector("a")?.focus();
  });
  const keepUp = async () => {
    for (;;) {
      await sleep(LOOK_MS);
      const goesOn = [...listed.values()].some(({ job }) => !isFinal(job));
      if (goesOn && !document.hidden) (await listJobs().catch(noNews)).jobs.forEach(update);
    }
  };
  keepUp();
  return {
    update,
    /** @param {string} [openId] */
    async refresh(openId) {
      open = openId;
      const page = await listJobs();
      list.replaceChildren();
      listed.clear();
      add(page);
      showOthers();
    },
  };
}

/** @param {JobSummary} job */
function contents(job) {
  const pictures = job.outputs
    .filter(Boolean)
    .slice(0, PICTURES)
    .map(({ url }) => h("img", { src: pictureUrl(url), alt: "", loading: "lazy" }));
  const wanted = job.request.found ? "again" : bits(targetBits(job.request));
  return [
    h("span", { class: "strip", "aria-hidden": "true" }, ...pictures),
    h("strong", { text: job.concept, title: job.concept }),
    h("span", { text: job.status === "succeeded" ? reached(job.outputs) : `${wanted}, ${job.status}` }),
    h("time", { datetime: job.created_at, text: ago(job.created_at) }),
  ];
}

/**
 * What is wrong is said by those who need the answer.
 * @param {unknown} error
 * @returns {Pick<JobList, "jobs">}
 */
function noNews(error) {
  if (error instanceof Problem) return { jobs: [] };
  throw error;
}
