"""Every key of the object store: whose it is, and so when it ends (docs/lifetimes.md).

An object ends with the job, upload or found thing below whose prefix it lies; the Redis functions plan these erasures
(`jobs/lua/erasures.lua`). Only what belongs to no picture lies elsewhere.
"""

JOBS, UPLOADS, FOUND = "jobs/", "uploads/", "found/"
SAVEPOINTS = "savepoint/"  # below a job's prefix, beside its attempts'
DENSITIES = "densities/"  # of texts; and below a picture's prefix, those of its variations
CHECKPOINTS = "checkpoints/"  # what loading one has found out


def job_prefix(job_id: str) -> str:
    """All that belongs to a job."""
    return f"{JOBS}{job_id}/"


def attempt_prefix(job_id: str, attempt: int) -> str:
    """All outputs of an attempt: erased when it ends without publishing them."""
    return f"{job_prefix(job_id)}{attempt}/"


def output_key(job_id: str, attempt: int, index: int, suffix: str) -> str:
    """Where an attempt keeps an output."""
    return f"{attempt_prefix(job_id, attempt)}{index}.{suffix}"


def state_key(job_id: str, attempt: int, index: int) -> str:
    """Where an attempt keeps what later jobs steer by and draw again: what the output's trial has learnt."""
    return output_key(job_id, attempt, index, "safetensors")


def savepoint_key(job_id: str, attempt: int, number: int) -> str:
    """Where an attempt keeps its state: erased when the job ends."""
    return f"{job_prefix(job_id)}{SAVEPOINTS}{attempt}-{number}/run.safetensors"


def upload_prefix(upload_id: str) -> str:
    """All that belongs to an upload."""
    return f"{UPLOADS}{upload_id}/"


def upload_key(upload_id: str) -> str:
    """Where an uploaded picture lies."""
    return f"{upload_prefix(upload_id)}picture.png"


def found_prefix(found_id: str) -> str:
    """All that belongs to a found thing."""
    return f"{FOUND}{found_id}/"


def found_picture_key(found_id: str) -> str:
    """Where a found thing's picture lies."""
    return f"{found_prefix(found_id)}picture.png"


def found_key(found_id: str) -> str:
    """Where the found thing lies: the picture, and in it what was learnt."""
    return f"{found_prefix(found_id)}found.png"
