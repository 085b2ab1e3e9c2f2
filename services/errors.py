"""What can go wrong for reasons that a person can act on: one sentence each, with the values in it."""


class ServiceError(Exception):
    """An expected failure; `code` is the stable word that clients and job records see.

    `title` is what a job that fails of it says; the titles of problems are in api/problems/catalogue.py.
    """

    code = "internal"
    title = "The service failed"

    @property
    def told(self) -> str:
        """What clients are told of it."""
        return str(self)


class SettingsError(ServiceError):
    """The environment does not describe a service that can start."""

    code = "settings"
    title = "The settings cannot be used"


class CheckpointError(ServiceError):
    """A model folder is missing, incomplete or corrupt."""

    code = "checkpoint"
    title = "The model cannot be loaded"


class PromptError(ServiceError):
    """The model cannot see the concept in the prompt."""

    code = "prompt"
    title = "The prompt cannot be used"


class DecodingError(ServiceError, ValueError):
    """The model cannot draw as the request asks."""

    code = "decoding"
    title = "The model cannot draw so"


class ReplayError(ServiceError):
    """A picture cannot be made again here."""

    code = "replay"
    title = "The picture cannot be made again"


class ReferenceGoneError(ServiceError):
    """A picture that the request names was erased before the job ran."""

    code = "reference_gone"
    title = "A picture that the job names is gone"


class OtherModelError(ServiceError):
    """What the request names is of another model, in whose space its embedding means something else."""

    code = "other_model"
    title = "A picture that the job names is of another model"

    def __init__(self, what: str, whose: str, own: str) -> None:
        own = f"the service has the model {own[:12]}, to which its embedding says nothing"
        super().__init__(f"{what} is of {whose}, {own}")


class OtherConceptError(ServiceError):
    """A found thing that the request names is of another concept."""

    code = "other_concept"
    title = "What the job is to draw again is of another concept"

    def __init__(self, what: str, own: str, asked: str) -> None:
        super().__init__(f"{what} is of the concept ‘{own}’, not of ‘{asked}’")


class UnsafeContentError(ServiceError):
    """Content safety is on, and refuses the picture to start from or all that were made."""

    code = "unsafe_content"
    title = "Content safety refuses the pictures"


class StorageError(ServiceError):
    """The object store cannot be reached, refuses us, or lacks what was asked for."""

    code = "storage"
    title = "The object store failed"

    @property
    def told(self) -> str:
        """Without the store's keys, which are the log's."""
        return "what belongs to the job or the picture cannot be stored or read now"


class NoStorageError(StorageError):
    """The object store is there, and takes nothing: without the bucket, the right or the room that it needs."""

    @property
    def told(self) -> str:
        """The reason: whoever asks for it is an operator."""
        return str(self)


class StoreUnsafeError(ServiceError):
    """Redis is set up in a way that loses jobs."""

    code = "store_unsafe"
    title = "Redis cannot be trusted with jobs"


class UnreadableError(ServiceError):
    """A record in Redis is damaged, or written by a version of the service that this one cannot read."""

    code = "unreadable"
    title = "The record cannot be read"

    def __init__(self, kind: str, record_id: str) -> None:
        super().__init__(f"this version of the service cannot read what is kept of {kind} {record_id}")
        self.id = record_id


class JobNotFoundError(ServiceError):
    """No job has this id."""

    code = "not_found"


class NoDensityError(ServiceError):
    """The job has not got its density yet, or the store has lost it."""

    code = "no_density"
    title = "The job has no density yet"


class JobExpiredError(ServiceError):
    """The job's outputs were kept as long as was promised and are erased."""

    code = "expired"


class NotQuarantinedError(ServiceError):
    """No job with this id is in quarantine, or not any more."""

    code = "not_quarantined"


class FoundNotKeptError(ServiceError):
    """No found thing with this id is kept."""

    code = "not_found"

    def __init__(self, found_id: str) -> None:
        super().__init__(f"there is no found thing {found_id}")


class FoundLimitError(ServiceError):
    """As many found things are kept as may be."""

    code = "found_limit"


class UploadNotFoundError(ServiceError):
    """No uploaded picture has this id."""

    code = "not_found"


class UploadExpiredError(ServiceError):
    """The uploaded picture was kept as long as was promised and is erased."""

    code = "expired"


class PictureError(ServiceError):
    """The bytes are no picture that we take."""

    code = "picture"


class QueueFullError(ServiceError):
    """As many jobs are waiting as the service accepts."""

    code = "queue_full"


class IdempotencyConflictError(ServiceError):
    """The idempotency key was used before, for another request."""

    code = "idempotency_conflict"


class UnauthorizedError(ServiceError):
    """The request comes with no API key, or with one that opens nothing."""

    code = "unauthorized"


class ForbiddenError(ServiceError):
    """The API key is not one of an operator."""

    code = "forbidden"


class RateLimitedError(ServiceError):
    """More requests than the tenant may send in this time."""

    code = "rate_limited"

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TenantError(ServiceError):
    """A tenant, a key or a limit that an operator names cannot be."""

    code = "tenant"
    title = "The tenant or key cannot be used"


class BatchNotFoundError(ServiceError):
    """No batch has this id, or not any more."""

    code = "not_found"


class DeliveryNotFoundError(ServiceError):
    """No delivery of the job has this id, or it is not kept any more."""

    code = "not_found"
    title = "There is no such delivery"


class LeaseLostError(ServiceError):
    """A write came from an attempt that is no longer the current one."""

    code = "lease_lost"
    title = "Another attempt owns the job"
