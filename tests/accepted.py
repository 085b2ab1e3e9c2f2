"""Requests as the gateway accepts them."""

from services.jobs.accepted import AcceptedRequest
from services.jobs.request import JobRequest


def accepted(**fields: object) -> AcceptedRequest:
    """What a client asks for; a seed that it leaves open is 0, limits and keeping are the longest that there are."""
    return JobRequest.model_validate(fields).accepted(seed=0)
