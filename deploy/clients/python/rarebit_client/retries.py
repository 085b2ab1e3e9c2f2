"""How long to pause before a request is sent again."""

import random
from dataclasses import dataclass

from rarebit_client.errors import TEMPORARY, RarebitError

_FIRST_S = 0.25
_LONGEST_S = 8.0
_PATIENCE_S = 60.0  # a gateway that asks for more is left to the caller


@dataclass(frozen=True)
class Retries:
    """At most `limit` of them in a row."""

    limit: int

    def pause_s(self, failures: int, error: RarebitError) -> float:
        """Exponential, half of it by chance, after what `Retry-After` asks for; raises the error if it is no use."""
        asked_s = (error.problem and error.problem.retry_after_s) or 0.0
        if not isinstance(error, TEMPORARY) or failures > self.limit or asked_s > _PATIENCE_S:
            raise error
        longest_s = min(_LONGEST_S, _FIRST_S * 2**failures)
        return asked_s + random.uniform(longest_s / 2, longest_s)  # noqa: S311
