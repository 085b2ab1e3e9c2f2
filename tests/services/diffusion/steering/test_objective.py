"""The calibrated loss, on the device where its values are."""

import pytest
import torch

from services.diffusion.steering.objective import quantiles


def test_quantiles_are_taken_where_the_values_lie() -> None:
    """A CPU has no second device but meta, whose values cannot be read: to come that far is to have mixed none."""
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
        quantiles(torch.empty(9, dtype=torch.float64, device="meta"))
