"""Laws of `make bench`'s ablations: whatever is left out or replaced, there are pictures to be measured."""

from contextlib import ExitStack

import pytest

from services.diffusion.generate import generate
from services.diffusion.replay import GenerationConfig
from services.diffusion.run import Run
from tests.benchmarks.__main__ import ablations
from tests.services.diffusion.conftest import SUBJECT


@pytest.mark.parametrize("name", ablations.variants())
def test_every_variant_makes_pictures(model, density, checker, name):
    own, patches = ablations.variants()[name]
    config = GenerationConfig(**{"target_bits": 3.0, "seed": 0, "steps": 2, "trials": 2} | own)
    with ExitStack() as replaced:
        for one in patches():
            replaced.enter_context(one)
        run = Run(model, density, checker, SUBJECT, config)
        assert len(generate(run, lambda *_: None).outputs) == 1
    assert isinstance(run.space, ablations.DirectSpace) == (name == "the embedding itself")
