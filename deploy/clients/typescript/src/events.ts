import type { JobStatus, Output, Preview, StatusChange, WatchedProgress } from './generated/types.gen.ts';

/** What happened to a job; a stream goes on after `id`, which a preview leaves as it was. */
export type JobEvent =
  | { id: string; event: 'status'; data: StatusChange }
  | { id: string; event: 'progress'; data: WatchedProgress }
  | { id: string; event: 'output'; data: Output }
  | { id: string; event: 'preview'; data: Preview };

export function hasEnded(status: JobStatus): boolean {
  return status === 'succeeded' || status === 'failed' || status === 'canceled';
}
