import type { FieldProblem, Job, Problem } from './generated/types.gen.ts';

/** What the gateway refused; `name` is the last part of the problem's type: `not_found`, `queue_full`, … */
export class RarebitError extends Error {
  readonly name: string;
  readonly status: number;
  readonly fields: FieldProblem[];

  constructor(problem: Problem) {
    super([problem.detail ?? problem.title, ...(problem.errors ?? []).map(said)].join('; '));
    this.name = problem.type.split(/[/:]/).at(-1)!;
    this.status = problem.status;
    this.fields = problem.errors ?? [];
  }
}

/** The job ended without pictures: `code` is its error's, or `canceled`. */
export class JobFailed extends Error {
  readonly code: string;
  readonly job: Job;

  constructor(job: Job) {
    super(`job ${job.id}: ${job.error ? `${job.error.code}: ${job.error.detail}` : job.status}`);
    this.name = 'JobFailed';
    this.code = job.error?.code ?? job.status;
    this.job = job;
  }
}

/** The error that an answer, whose body is `cause`, stands for; what broke before there was one stays as it is. */
export function errorOf(cause: unknown, response?: Response): unknown {
  if (!response || response.ok) return cause;
  const { status, statusText } = response;
  const isProblem = response.headers.get('content-type')?.startsWith('application/problem+json');
  return new RarebitError(isProblem ? (cause as Problem) : { type: 'http_error', title: statusText, status });
}

/** The same of an answer that was not read. */
export async function errorIn(response: Response): Promise<unknown> {
  return errorOf(await response.json().catch(() => null), response);
}

/** The request, unless a name in its path is empty or dots alone, which would lead to another path, encoded too. */
export function refuseDots(request: Request, { path = {} }: { path?: Record<string, unknown> | null }): Request {
  const errors = Object.entries(path ?? {}).flatMap(([parameter, value]) =>
    ['', '.', '..'].includes(String(value)) ? [{ parameter, detail: 'is empty or dots alone' }] : [],
  );
  if (errors.length > 0) throw new RarebitError({ type: 'invalid_request', title: 'No such path', status: 422, errors });
  return request;
}

function said({ pointer, parameter, detail }: FieldProblem): string {
  return `${pointer ?? parameter}: ${detail}`;
}
