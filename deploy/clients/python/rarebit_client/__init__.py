"""Rarebit for programs: `Client().generate("handbag", count=4)` gives four pictures that nobody has seen yet."""

from rarebit_client._async.client import AsyncClient
from rarebit_client._sync.client import Client
from rarebit_client.documents import (
    DensityModel,
    Event,
    Exposure,
    Job,
    JobError,
    Output,
    Preview,
    Progress,
    StatusChange,
    TrialProgress,
    Upload,
    WatchedProgress,
)
from rarebit_client.errors import (
    Expired,
    InvalidRequest,
    JobCanceled,
    JobFailed,
    NotFound,
    Problem,
    QueueFull,
    RarebitError,
    RateLimited,
    Unauthorized,
    Unavailable,
    WaitTimeout,
)
from rarebit_client.image import Image
from rarebit_client.options import JobOptions

__all__ = [
    "AsyncClient",
    "Client",
    "DensityModel",
    "Event",
    "Expired",
    "Exposure",
    "Image",
    "InvalidRequest",
    "Job",
    "JobCanceled",
    "JobError",
    "JobFailed",
    "JobOptions",
    "NotFound",
    "Output",
    "Preview",
    "Problem",
    "Progress",
    "QueueFull",
    "RarebitError",
    "RateLimited",
    "StatusChange",
    "TrialProgress",
    "Unauthorized",
    "Unavailable",
    "Upload",
    "WaitTimeout",
    "WatchedProgress",
]
