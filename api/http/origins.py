"""Pages of other origins, which browsers let call the gateway where it says so (Fetch standard, CORS)."""

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from api.problems.errors import answer, problem_of
from services.errors import ForbiddenError

_METHODS = ("DELETE", "GET", "HEAD", "POST", "PUT")
_READABLE = (
    "Allow",
    "ETag",
    "Idempotency-Replayed",
    "Location",
    "Preference-Applied",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-Should-Retry",
)


class OtherOrigins(CORSMiddleware):
    """Lets the pages of these origins call and read the answers, with keys that they have, not with cookies."""

    def __init__(self, app: ASGIApp, origins: list[str]) -> None:
        super().__init__(app, origins, _METHODS, ["*"], allow_private_network=True, expose_headers=_READABLE)

    def preflight_response(self, request_headers: Headers) -> Response:
        if self.is_allowed_origin(origin := request_headers["origin"]):
            return super().preflight_response(request_headers)
        return answer(problem_of(ForbiddenError(f"pages of {origin[:255]} may not call")), {"Vary": "Origin"})
