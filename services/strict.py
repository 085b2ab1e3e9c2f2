"""What every document that a client sends is held to."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """A document that takes nothing for something else: no unknown field, no `false` for 0, no NaN."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
