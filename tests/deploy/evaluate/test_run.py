"""An evaluation on the embedded checkpoint: it is whole, it goes on where it stopped, and it says the same again."""

import csv
import json
import re
import shutil

import pytest
from PIL import Image

from deploy.evaluate.conceptlab import nearest_noun
from deploy.evaluate.methods import METHODS
from deploy.evaluate.reference import CONCEPTS
from deploy.evaluate.run import evaluate
from deploy.evaluate.units import Units

TIMES = ("wall_s", "cpu_s", "per_second", "per_cpu_second")


def silent(*_):
    pass


def table(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_every_picture_has_a_row_and_every_set_its_figures(finished):
    rows, sets = table(finished / "images.csv"), table(finished / "sets.csv")
    assert len(rows) == len(METHODS) * 2 * 2
    assert [(row["method"], row["concept"]) for row in sets] == [
        (method, concept) for method in METHODS for concept in ("handbag", "cup", "all")
    ]
    assert all(0 <= float(row["valid_judge_low"]) <= float(row["valid_judge"]) <= 1 for row in sets)
    assert all(1 <= float(row["vendi"]) <= 2 for row in sets)
    assert all(float(row["wall_s"]) > 0 for row in sets)
    assert json.loads((finished / "results.json").read_text())["judged"] == list(CONCEPTS)


def test_best_of_n_is_rarer_than_plain(finished):
    bits = {row["method"]: float(row["bits"]) for row in table(finished / "sets.csv") if row["concept"] == "all"}
    assert bits["best-of-n"] > bits["plain"] + 3


def test_page_needs_nothing_but_its_folder(finished):
    page = (finished / "index.html").read_text()
    sources = re.findall(r'(?:src|href)="([^"]+)"', page)
    local = [source for source in sources if not source.startswith("data:")]
    assert {source for source in local if (finished / source).exists()} == set(local)
    assert {"sheets/handbag.png", "sheets/cup.png"} == set(local)
    assert "<script" not in page


def test_interrupted_evaluation_goes_on_to_the_same_tables(finished, plan, data, tmp_path):
    out = shutil.copytree(finished, tmp_path / "report")
    before = {path: path.stat().st_mtime_ns for path in (out / "images").rglob("unit.json")}
    lost = out / "images/creative/cup/seed-1000"
    shutil.rmtree(lost)

    def interrupt(phase, *_):
        raise KeyboardInterrupt(phase)

    with pytest.raises(KeyboardInterrupt):
        evaluate(plan, out, data, interrupt)
    assert not lost.exists()
    evaluate(plan, out, data, silent)
    assert (out / "images.csv").read_bytes() == (finished / "images.csv").read_bytes()
    assert without_times(out / "sets.csv") == without_times(finished / "sets.csv")
    after = {path: path.stat().st_mtime_ns for path in (out / "images").rglob("unit.json")}
    assert {path for path in before if after[path] != before[path]} == {lost / "unit.json"}


def without_times(path):
    return [{name: value for name, value in row.items() if name not in TIMES} for row in table(path)]


def test_finished_evaluation_is_written_again_byte_for_byte(finished, plan, data, tmp_path):
    out = shutil.copytree(finished, tmp_path / "report")
    evaluate(plan, out, data, silent)
    for path in (path for path in finished.rglob("*") if path.is_file()):
        assert (out / path.relative_to(finished)).read_bytes() == path.read_bytes(), path


def test_judge_and_density_have_seen_no_picture_that_is_evaluated(finished, plan):
    rows = table(finished / "images.csv")
    seen = {unit.seed + i for units in plan.references().values() for unit in units for i in range(unit.count)}
    assert {int(row["seed"]) for row in rows}.isdisjoint(seen | {0})


def test_unit_of_other_settings_is_not_taken_for_done(finished, plan):
    units, unit = Units(finished), plan.units("plain", "cup")[0]
    settings = json.loads((units.folder(unit) / "unit.json").read_text())["settings"]
    assert units.is_done(unit, settings)
    assert not units.is_done(unit, settings | {"count": 3})


def test_lock_is_one_holder_s_at_a_time(tmp_path):
    first, second = Units(tmp_path), Units(tmp_path)
    with first.locked("unit", wait=False) as mine, second.locked("unit", wait=False) as theirs:
        assert (mine, theirs) == (True, False)
    with second.locked("unit", wait=False) as theirs:
        assert theirs


def test_pictures_are_kept_without_loss(finished, plan):
    units, unit = Units(finished), plan.units("calibrated", "handbag")[0]
    sample = units.load(unit).sample
    assert len(sample.seeds) == len(sample.images) == len(sample.image_embeds) == 2
    with Image.open(units.pictures(unit)[1]) as picture:
        assert sample.images[1].tobytes() == picture.tobytes()


def test_concept_itself_is_never_its_own_negative(models, finished):
    with Image.open(finished / "images/plain/cup/seed-1000/cup-1.png") as image:
        assert nearest_noun(models.checker, image, "cup") in set(models.checker.nouns) - {"cup"}
