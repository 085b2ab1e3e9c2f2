// What was looked for before: the service's own list of jobs, newest first.

import { listJobs, pictureUrl } from "./api.js";
import { byId, h } from "./dom.js";
import { remember } from "./pictures.js";
import { isPlain } from "./requests.js";
import { ago, bits, targetBits } from "./words.js";

const PICTURES = 4;

/** Shows the first page; `refresh(openId)` shows it anew, with the open job marked. */
export function createHistory() {
  const [list, more] = [byId("history-list"), byId("history-more")];
  let cursor = null;
  let open = null;
  const add = (page) => {
    page.jobs.forEach(remember);
    list.append(...page.jobs.filter((job) => !isPlain(job)).map((job) => item(job, open)));
    cursor = page.next_cursor;
    more.hidden = !cursor;
    byId("history").classList.toggle("empty", !list.childElementCount);
  };
  more.addEventListener("click", async () => {
    const [before, from] = [list.childElementCount, cursor];
    const page = await listJobs(from);
    if (cursor !== from) return; // another click, or a refresh, was faster
    add(page);
    list.children[before]?.querySelector("a").focus();
  });
  return {
    async refresh(openId) {
      open = openId;
      const page = await listJobs();
      list.replaceChildren();
      add(page);
    },
  };
}

function item(job, open) {
  const pictures = job.outputs
    .slice(0, PICTURES)
    .map(({ url }) => h("img", { src: pictureUrl(url), alt: "", loading: "lazy" }));
  const target = bits(targetBits(job.request));
  const state = job.status === "succeeded" ? target : `${target}, ${job.status}`;
  const link = h(
    "a",
    { href: `#/jobs/${job.id}`, "aria-current": job.id === open ? "true" : null },
    h("span", { class: "strip", "aria-hidden": "true" }, ...pictures),
    h("strong", { text: job.concept }),
    h("span", { text: state }),
    h("time", { datetime: job.created_at, text: ago(job.created_at) }),
  );
  return h("li", {}, link);
}
