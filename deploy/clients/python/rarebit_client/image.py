"""A picture in memory."""

from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rarebit_client.documents import Job, Output, Rung

if TYPE_CHECKING:
    import PIL.Image


@dataclass(frozen=True)
class Image:
    """One picture of a job, with its own figures; give it to `toward`, `avoid` or `image` of another job."""

    content: bytes = field(repr=False)
    output: Output
    job: Job = field(repr=False)

    @property
    def ref(self) -> str:
        """JOB_ID/INDEX, as requests and histories name it."""
        return f"{self.job.id}/{self.output.index}"

    @property
    def bits(self) -> float:
        """Rarity: −log₂ of the share of plain samples that are as rare."""
        return self.output.rarity.bits

    @property
    def percentile(self) -> float:
        return self.output.rarity.percentile

    @property
    def rung(self) -> Rung | None:
        """Where it stands on the ladder that was asked for: its `column`, its `index` there, and the `bits` of that."""
        return self.output.rarity.rung

    @property
    def validity(self) -> float | None:
        """How sure the judge is that it still shows the concept, 0 to 1; None where it does not know the concept."""
        return self.output.validity

    @property
    def seed(self) -> int:
        return self.output.seed

    @property
    def replay(self) -> dict[str, Any]:
        """All that makes it again bit for bit."""
        return self.output.replay

    def save(self, path: str | Path) -> Path:
        """Write the bytes as they came; their format is the job's `format`."""
        path = Path(path)
        path.write_bytes(self.content)
        return path

    def pil(self) -> "PIL.Image.Image":
        """The decoded picture; needs Pillow (`rarebit-client[pil]`)."""
        import PIL.Image

        return PIL.Image.open(BytesIO(self.content))
