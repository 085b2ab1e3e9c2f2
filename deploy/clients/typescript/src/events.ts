import type { JobError, JobStatus, Output, Progress } from './generated/types.gen.ts';

/** The error and the warnings come with the last one. */
export type StatusChange = { status: JobStatus; error?: JobError | null; warnings: string[] };

export type TrialProgress = {
  bits: number;
  validity: number | null;
  x: number;
  y: number;
  state: 'moving' | 'arrived' | 'ended';
};

/** In the phase `optimize` with all trials, in a fixed order. */
export type WatchedProgress = Progress & { trials?: TrialProgress[] };

export type Preview = { step: number; pictures: { trial: number; bits: number; validity: number; url: string }[] };

/** What happened to a job; a stream goes on after `id`. */
export type JobEvent = { id: string } & (
  | { event: 'status'; data: StatusChange }
  | { event: 'progress'; data: WatchedProgress }
  | { event: 'preview'; data: Preview }
  | { event: 'output'; data: Output }
);

export function hasEnded(status: JobStatus): boolean {
  return status === 'succeeded' || status === 'failed' || status === 'canceled';
}
