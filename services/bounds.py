"""The bounds and usual values that settings, requests, records and the method share."""

from dataclasses import dataclass

MAX_KEEP_S = 30 * 86400
MAX_RUN_S = 86400
OUTPUTS = 16  # of a job
FOUND = 200  # kept by a tenant: a list has all of them
DEFAULT_MODEL = "rarebit"  # of a service of one model, and of jobs that were recorded before they named theirs
MODEL_NAME = "^[a-z0-9][a-z0-9._-]{0,62}$"
STRENGTH = 0.5  # of a variation, unless it says: its steps are then the last of the prior's own
MIN_DENSITY_SAMPLES = 200  # fewer leave too few held out for a tail


@dataclass(frozen=True)
class Bounds:
    """What is kept at most of what has no end of its own; beyond it, what was used longest ago goes.

    A history ends `exposure_ttl_s` seconds after it was added to, and a tenant has `exposures` of them; `densities` are
    those of texts, of all tenants together.
    """

    exposure_ttl_s: int = 90 * 86400
    exposures: int = 1000
    densities: int = 1000


DEFAULTS = Bounds()
