"""Three rounds with a user who dislikes the first picture of each: a contact sheet (arXiv 2601.22125, figure 10)."""

from collections.abc import Iterator

from deploy.local.contact_sheet import Row, contact_sheet
from services.diffusion.generate import generate
from services.diffusion.replay import GenerationConfig
from services.diffusion.run import Output, Run
from services.diffusion.steering.clusters import steer
from tests.benchmarks import setup

CONCEPT, COUNT, BITS, SEED, ROUNDS = "handbag", 6, 9.97, 7000, 3
SHEET = setup.DATA / "rounds.png"


def lines() -> Iterator[str]:
    """The path of the sheet; every round is of the same seed, and away from all that was disliked before."""
    models, density, subject, rows = setup.models(), setup.density(CONCEPT), setup.subject(CONCEPT), list[Row]()
    disliked: list[Output] = []
    for number in range(ROUNDS):
        away = [output.image_embeds[None] for output in disliked]
        steering = steer(models.model, density, subject, avoid=away, toward=[], history=None, report=setup.progress)
        config = GenerationConfig(BITS, SEED, COUNT)
        run = Run(models.model, density, models.checker, subject, config, steering)
        outputs = generate(run, setup.progress).outputs
        rows.append(row(number, outputs))
        disliked.append(outputs[0])
    contact_sheet(f"{CONCEPT}, three rounds", rows).save(SHEET)
    yield str(SHEET)


def row(number: int, outputs: list[Output]) -> Row:
    away = " and ".join(f"{n + 1}.1" for n in range(number))
    label = f"Round {number + 1}, away from {away}" if away else "Round 1"
    captions = [f"{number + 1}.{i + 1} · {output.rarity['bits']:.1f} bits" for i, output in enumerate(outputs)]
    captions[0] += ", disliked"
    return Row(label, [output.image for output in outputs], captions)
