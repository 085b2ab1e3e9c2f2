"""`rarebit generate` and `rarebit replay`: pictures on disk, each with its figures and what was learnt beside it."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from deploy.local import in_process
from deploy.local.pictures import picture_paths, validity_in_words, warning_lines
from deploy.local.progress import progress_bar
from services.diffusion.density.subject import Subject
from services.diffusion.run import Output
from services.errors import ReplayError
from services.exposure import Feedback, View
from services.jobs.accepted import AcceptedRequest
from services.sampler.requests import config_of


def make(
    request: AcceptedRequest,
    avoid: Sequence[tuple[str, float]],
    toward: Sequence[tuple[str, float]],
    *,
    image: tuple[Path, float] | None,
    found: Path | None,
    exposure: Path | None,
    data: Path,
    out: Path,
) -> list[str]:
    """Save the pictures in `out` and add them to the file of views; answers with the warnings, then a line for each.

    Wishes come with their weights, and a picture to vary with the strength; of a picture that is `found`, what was
    learnt lies beside it.
    """
    rungs = len(request.rarity.ladder or [1])
    paths = picture_paths(out, request.concept, request.count * rungs, "png")
    with progress_bar() as show:
        models = in_process.load(data)
        thing = None if found is None else in_process.found(models, found, request.concept)
        start = () if image is None else (in_process.start(models, image[0]), image[1])
        subject = thing.subject(request.prompt) if thing else Subject(request.concept, request.prompt, *start)
        seen = None if exposure is None else _read(exposure)
        wishes = {"avoid": avoid, "toward": toward}
        result = in_process.generate(models, subject, config_of(request), show, **wishes, seen=seen, found=thing)
    paths = [_path(path, output) for path, output in zip(paths, result.outputs, strict=False)]
    lines = [_save(path, output) for path, output in zip(paths, result.outputs, strict=True)]
    if exposure is not None:
        with exposure.open("a") as file:
            file.writelines(_view(*pair, request.concept) + "\n" for pair in zip(paths, result.outputs, strict=True))
    return warning_lines(result.warnings) + lines


def make_again(figures: Path, *, found: Path | None, data: Path, out: Path) -> Path:
    """Save the picture of the `replay` block in `figures`, if it is of a thing that was `found`, with that; ReplayError
    when there is none, or it cannot be made."""
    try:
        document = json.loads(figures.read_text())
        block = document.get("replay", document)
        with progress_bar() as show:
            output = in_process.replay(in_process.load(data), block, show, found)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReplayError(f"{figures} holds no replay block: {error!r}") from error
    output.image.save(out)
    return out


def _path(path: Path, output: Output) -> Path:
    """With the numbers of column and rung in place of the picture's own."""
    if (rung := output.rung) is None:
        return path
    return path.with_name(f"{path.stem.rpartition('-')[0]}-{rung.column + 1}-{rung.index + 1}{path.suffix}")


def _save(path: Path, output: Output) -> str:
    output.image.save(path)
    path.with_suffix(".safetensors").write_bytes(output.found.save())
    names = ("seed", "rarity", "anchor", "validity", "novelty_bits", "replay")
    figures = {name: getattr(output, name) for name in names}
    figures["rarity"] |= {"rung": asdict(output.rung)} if output.rung else {}
    figures |= {"likeness": asdict(output.likeness)} if output.likeness else {}
    path.with_suffix(".json").write_text(json.dumps(figures, indent=1) + "\n")
    likeness = "" if output.likeness is None else f", likeness {output.likeness.embedding:.2f}"
    novelty = "" if output.novelty_bits is None else f", {output.novelty_bits:.1f} bits new"
    validity = validity_in_words(output.validity)
    return f"{path}: {output.rarity['bits']:.1f} bits{novelty}{likeness}, {validity}, seed {output.seed}"


def _read(exposure: Path) -> list[View]:
    """One view a line, the oldest first; none where there is no file yet."""
    lines = exposure.read_text().splitlines() if exposure.exists() else []
    return [View.model_validate_json(line) for line in lines]


def _view(path: Path, output: Output, concept: str) -> str:
    data = output.image_embeds.numpy().tobytes()
    return View.of(str(path), concept, Feedback.NEUTRAL, data, output.found.facts.model).model_dump_json()
