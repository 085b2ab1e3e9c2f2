"""Every kind of problem that the gateway answers with, and every code that a job fails with: the one table of each."""

from dataclasses import dataclass

PATH = "/problems"


@dataclass(frozen=True)
class Kind:
    """A kind of problem: its HTTP status, what it means, what to do about it, an example of its `detail`."""

    name: str
    status: int
    title: str
    meaning: str
    remedy: str
    detail: str = ""

    @property
    def type(self) -> str:
        """What problems of the kind have as their `type`: a reference to its page, relative to the gateway."""
        return f"{PATH}/{self.name}"


@dataclass(frozen=True)
class Failure:
    """What a job's `error.code` means, and what to do about it."""

    code: str
    meaning: str
    remedy: str


_KINDS = (
    Kind(
        "bad_request",
        400,
        "The request cannot be read",
        "The body is not JSON (RFC 8259), is not in UTF-8, is nested too deeply, has numbers of too many digits, or "
        "ended before its stated length.",
        "Serialise the body with a JSON library; `NaN` and `Infinity` are no JSON. Sending the same again changes "
        "nothing.",
        "the body is not JSON: Expecting value: line 1 column 13 (char 12)",
    ),
    Kind(
        "unauthorized",
        401,
        "An API key is needed",
        "The request comes with no key, or with one that was never made or is revoked.",
        "Send the key as `Authorization: Bearer KEY`. Operators make keys with `rarebit keys create TENANT`.",
        "the API key is unknown or revoked",
    ),
    Kind(
        "forbidden",
        403,
        "This is not permitted",
        "The signature in a picture's URL does not fit, or the URL has expired; or the API key is not one of an "
        "operator; or a page of an origin that the operator has not listed wants to call.",
        "Read the job or the picture again: every answer has URLs that last; use them as they are, query and all. "
        "Quarantine and metrics need a key that was made with `--operator`.",
        "the URL is not signed by this service, or has expired",
    ),
    Kind(
        "not_found",
        404,
        "There is nothing here",
        "No job, picture or path of this name is known: it never was, or its owner erased it. What was kept as long "
        "as promised and then erased answers 410 instead.",
        "Check the id and the path, which is case-sensitive and has no slash at its end. Asking again changes nothing.",
        "there is no job 0b5f3e3cbb1e4a5f8f0f5a3c1d2e4f60",
    ),
    Kind(
        "not_quarantined",
        404,
        "The job is not in quarantine",
        "No job with this id is in quarantine: it never was, has expired, or somebody replayed it before.",
        "List the quarantine (`GET /quarantine`). A replay that was answered by this may have succeeded before.",
        "there is no job 0b5f3e3cbb1e4a5f8f0f5a3c1d2e4f60 in quarantine",
    ),
    Kind(
        "no_density",
        404,
        "The job has no density yet",
        "The job has not got the density that its rarity is measured against: it waits, or fits it.",
        "Ask again once the job's `progress` is past the phase `fit`.",
        "job 0b5f3e3cbb1e4a5f8f0f5a3c1d2e4f60 has no density yet",
    ),
    Kind(
        "method_not_allowed",
        405,
        "The path does not take this method",
        "There is such a path, but not with this method.",
        "The header `Allow` has the methods that the path takes.",
    ),
    Kind(
        "found_limit",
        409,
        "As many found things are kept as may be",
        "There is a bound on the found things that a tenant keeps; `detail` has it.",
        "Erase one that is not needed (`DELETE /found/{found_id}`); its `download_url` gives it as a file before.",
        "200 found things are kept, which is as many as may be: erase one first",
    ),
    Kind(
        "expired",
        410,
        "It has expired",
        "The job or the picture was kept as long as was promised (its `expires_at`), and is erased.",
        "Fetch pictures before `expires_at`, or ask for a later one with `expires_in`. What is erased does not come "
        "back; a picture that you have the `replay` block of can be made again.",
        "job 0b5f3e3cbb1e4a5f8f0f5a3c1d2e4f60 has expired, its outputs are erased",
    ),
    Kind(
        "content_too_large",
        413,
        "The body is too large",
        "The body is longer than the service takes; `detail` says how long it may be.",
        "Shorten the request, or make the picture smaller before uploading it: 1,024 pixels are kept.",
        "the body may have 65536 bytes",
    ),
    Kind(
        "unsupported_media_type",
        415,
        "The body has the wrong type",
        "The header `Content-Type` names a type that the path does not take, or the body is compressed, as "
        "`Content-Encoding` says.",
        "Send `application/json`, and pictures as `image/png`, `image/jpeg` or `image/webp`, uncompressed.",
        "the body has to be application/json, not text/plain",
    ),
    Kind(
        "range_not_satisfiable",
        416,
        "The picture ends before this range",
        "The header `Range` asks for bytes behind the end of the picture; `Content-Range` says how many it has.",
        "Ask for less, or, without `Range`, for all of it.",
        "the file has 412345 bytes",
    ),
    Kind(
        "misdirected",
        421,
        "The request is for another host",
        "The header `Host` names neither the host of the service's public URL, nor this machine, nor one that the "
        "operator has listed. So no page of another site can have a name of its own lead here, and read what is kept.",
        "Use the service's own address. Operators list further names in `RAREBIT_HOSTS`, and have their proxy pass "
        "`Host` on.",
        "the host 'rebound.example' is not served here",
    ),
    Kind(
        "invalid_request",
        422,
        "The request is not valid",
        "The request can be read, but a field, a parameter or a header is missing, unknown, of the wrong type or out "
        "of range, or names an output or an upload that is not there, or an output of another model. `errors` has one "
        "entry for each: where in the body (a JSON pointer) or in which parameter, and what is wrong.",
        "Correct what `errors` names. Unknown fields are refused, so that no misspelt one is ignored, and so are those "
        "that come twice.",
    ),
    Kind(
        "picture",
        422,
        "The picture cannot be used",
        "The bytes are no still picture of the type that `Content-Type` names, are damaged, or have too many pixels.",
        "Export the picture anew as PNG, JPEG or WebP.",
        "the picture has 900000000 pixels, 25000000 are taken",
    ),
    Kind(
        "idempotency_conflict",
        422,
        "The idempotency key belongs to another request",
        "The `Idempotency-Key` came with another body within the last 24 hours.",
        "Use a new key for each new request, and the same key only to send the same request again.",
        "the idempotency key was used before with another body",
    ),
    Kind(
        "rate_limited",
        429,
        "Too many requests",
        "Your API key's tenant has sent more requests within a minute than its limit allows.",
        "Wait for `Retry-After` seconds. `RateLimit` says with every answer how many requests are left; long-polls "
        "and event streams need fewer of them than asking again and again.",
        "more than 60 requests in a minute",
    ),
    Kind(
        "queue_full",
        429,
        "The queue is full",
        "As many jobs wait as your tenant may have, or as the service accepts. Nothing was recorded, and the "
        "idempotency key is not spent.",
        "Send the request again after `Retry-After` seconds, with the same `Idempotency-Key`.",
        "1000 jobs are waiting, no more are taken; try again later",
    ),
    Kind(
        "internal",
        500,
        "The service failed",
        "Something went wrong that nobody foresaw; the service's log has the reason.",
        "Send the request again, once, with the same `Idempotency-Key`; tell the operator when it stays so.",
    ),
    Kind(
        "unreadable",
        500,
        "The record cannot be read",
        "What is kept of the job, its density, the batch or the picture is damaged, or written by a version of the "
        "service that this gateway cannot read. Lists name such jobs in `unreadable`.",
        "Operators find such a job in `GET /quarantine` and in the log, with the reason. While the service is being "
        "updated, ask again later; `DELETE /jobs/{job_id}` erases the job.",
        "this version of the service cannot read what is kept of job 0b5f3e3cbb1e4a5f8f0f5a3c1d2e4f60",
    ),
    Kind(
        "storage",
        503,
        "The object store failed",
        "Where pictures are kept cannot be reached or refuses the service.",
        "Send the request again after `Retry-After` seconds.",
        "the store does not answer",
    ),
    Kind(
        "store_unsafe",
        503,
        "Redis cannot be trusted with jobs",
        "Redis is set up in a way that loses jobs (it evicts keys, keeps no append-only file, or runs in cluster "
        "mode), so the gateway is not ready.",
        "This is the operator's to mend; `detail` names the setting.",
        "Redis would lose jobs: it needs maxmemory-policy noeviction and appendonly yes, and has allkeys-lru and yes",
    ),
    Kind(
        "unavailable",
        503,
        "The job store does not answer",
        "Redis cannot be reached at the moment. A submission may have been recorded all the same.",
        "Send the request again after `Retry-After` seconds; with the same `Idempotency-Key` it makes one job.",
        "try again in a moment",
    ),
)

_FAILURES = (
    Failure(
        "start_deadline",
        "No worker began the job within its `start_within`.",
        "Ask for it again with a longer `start_within`, or without one, or when fewer jobs wait: `queue` of a waiting "
        "job says how long it takes.",
    ),
    Failure(
        "run_deadline",
        "The run took longer than `run_within` or the service's own limit, all its attempts together.",
        "Allow more time, or ask for fewer `steps`, `trials` or images.",
    ),
    Failure(
        "out_of_memory",
        "The job needs more memory than the worker's device has.",
        "Ask for fewer `trials`, a smaller `size` or a smaller `count`; the same request fails again.",
    ),
    Failure(
        "prompt",
        "The words are more than the model reads; `detail` names those that it would lose.",
        "Shorten `prompt`, `concept`, or the text to avoid or to lean to; the same request fails again.",
    ),
    Failure(
        "decoding",
        "The model cannot draw at this `size`, or with this `guidance_scale`; `detail` says what it can.",
        "Leave the field out, which asks for the model's own; the same request fails again.",
    ),
    Failure(
        "reference_gone",
        "What the request names in `image`, `found`, `avoid` or `toward` was erased, or expired, before the job ran.",
        "Upload the picture again, or keep what is to be drawn again (`POST /found`) or ask for longer-lived outputs "
        "(`expires_in`) where others are to start from them.",
    ),
    Failure(
        "other_model",
        "What the request names in `image`, `found`, `avoid` or `toward` was made by another model than the worker's, "
        "to which its embedding says nothing.",
        "Name an output of the present model; to start from an older picture, upload it (`POST /images`).",
    ),
    Failure(
        "other_concept",
        "What the request names in `found` is of another concept; `detail` names both.",
        "Ask for the found thing's own `concept`; the sentence around it (`prompt`) is yours.",
    ),
    Failure(
        "unsafe_content",
        "Content safety is on, and refuses the picture to start from or everything that was made.",
        "Start from another picture, or ask for something else. Where only some pictures are refused, the job "
        "succeeds with the others and says so in `warnings`.",
    ),
    Failure(
        "storage",
        "The object store could not be reached, or refused the service, for longer than the worker's patience.",
        "Ask for the job again once `GET /health/ready` answers 200; tell the operator when it does not.",
    ),
    Failure(
        "worker_lost",
        "Two workers in a row died with this job. It is kept in quarantine, so that it cannot take down a third.",
        "Operators look at `GET /quarantine` and the workers' logs, and replay the job when the cause is mended.",
    ),
    Failure(
        "unreadable",
        "What is kept of the job, or of a job or picture that it names, is damaged, or written by a version of the "
        "service that the worker cannot read. A job that no worker could read is kept in quarantine.",
        "Upload a picture again that `detail` names. Operators look at `GET /quarantine` and the workers' logs, and "
        "replay the job with workers of the other version.",
    ),
    Failure(
        "checkpoint",
        "A part of the model, or an embedding or a density that the store keeps, is missing or damaged.",
        "This is the operator's to mend; `detail` names the part.",
    ),
    Failure(
        "internal",
        "The worker met an error that nobody foresaw; its log has the reason.",
        "Ask for it again, once; tell the operator when it stays so.",
    ),
)

PROBLEMS = {kind.name: kind for kind in _KINDS}
FAILURES = {failure.code: failure for failure in _FAILURES}
