"""What is compared with what: the units of an evaluation, and the plain samples that teach its judge."""

from dataclasses import dataclass

from deploy.evaluate.methods import METHODS
from deploy.evaluate.reference import CONCEPTS, reference_units
from deploy.evaluate.units import Unit
from deploy.local.stack.child import StackError

GROUP_SEEDS = 1000  # between groups: more than any of them draws


@dataclass(frozen=True)
class Plan:
    """What to compare; `reference` pictures of either kind teach the judge each concept."""

    methods: list[str]
    concepts: list[str]
    images: int
    groups: int
    percentile: float
    steps: int
    published_steps: int
    reference: int

    def __post_init__(self) -> None:
        unknown = sorted(set(self.methods) - set(METHODS))
        if unknown:
            raise StackError(f"there is no method {', '.join(unknown)}; there are {', '.join(METHODS)}")

    @property
    def judged(self) -> list[str]:
        """The concepts that the judge tells apart."""
        return list(dict.fromkeys([*CONCEPTS, *self.concepts]))

    def references(self) -> dict[str, list[Unit]]:
        """What the judge learns each concept from."""
        return {concept: reference_units(concept, self.reference) for concept in self.judged}

    def units(self, method: str, concept: str) -> list[Unit]:
        """A unit for each group of seeds; none has the seed of the density's fit, which is 0."""
        return [Unit(method, concept, GROUP_SEEDS * (1 + group), self.images) for group in range(self.groups)]

    def shown(self) -> list[Unit]:
        """The units on the contact sheets: each method's first of each concept."""
        return [self.units(method, concept)[0] for concept in self.concepts for method in self.methods]

    def all_units(self) -> list[Unit]:
        """Everything, concept by concept."""
        own = [unit for c in self.concepts for method in self.methods for unit in self.units(method, c)]
        return [unit for units in self.references().values() for unit in units] + own
