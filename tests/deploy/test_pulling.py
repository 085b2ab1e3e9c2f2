"""What is pulled is what the hub has, however the network breaks, and nothing is asked for twice."""

import pytest

from deploy.local.models.pulled import commit_of, damaged_files, pulled_folders
from deploy.local.models.pulling import pull
from hub import CHUNK
from services.diffusion.runtime.checkpoint import checkpoint_folder
from services.diffusion.runtime.fingerprint import fingerprint_of
from services.errors import CheckpointError
from tests.kandinsky_as_published import DECODER, PRIOR

UNET = "unet/diffusion_pytorch_model.safetensors"


def test_a_broken_download_goes_on_where_it_broke(hub, models):
    half = (hub.root / DECODER / UNET).stat().st_size // CHUNK // 2 * CHUNK
    hub.breaks[UNET] = half
    with pytest.raises(CheckpointError, match=rf"^cannot load owner/{DECODER} from the hub: .*503"):
        pull(f"owner/{DECODER}", models)
    assert not pulled_folders(models)
    del hub.breaks[UNET]
    hub.asked.clear()
    pull(f"owner/{DECODER}", models)
    assert [begin for path, begin in hub.asked if path == f"/away/{DECODER}/{UNET}"] == [f"bytes={half}-"]
    assert not [path for path, _ in hub.asked if path.endswith("model_index.json")]
    assert [damage for folder in pulled_folders(models) for damage in damaged_files(folder)] == []


@pytest.mark.parametrize("path", [UNET, "unet/config.json"])
def test_a_file_that_arrives_damaged_is_refused_and_fetched_again(hub, models, path, monkeypatch):
    good = (hub.root / DECODER / path).read_bytes()
    facts = hub.files(DECODER)
    with monkeypatch.context() as patch:
        patch.setattr(hub, "files", lambda _: facts)
        (hub.root / DECODER / path).write_bytes(good[:-1] + b"?")
        with pytest.raises(CheckpointError, match=rf"{path} has not arrived as the hub has it"):
            pull(f"owner/{DECODER}", models)
        (hub.root / DECODER / path).write_bytes(good)
        pull(f"owner/{DECODER}", models)
    assert len(pulled_folders(models)) == 1


def test_a_commit_is_pulled_once_and_the_hub_is_not_asked_again(hub, models):
    name = f"owner/{PRIOR}@{hub.commit(PRIOR)}"
    folder = pull(name, models)
    hub.asked.clear()
    assert pull(name, models) == folder
    assert hub.asked == []


def test_a_branch_that_has_moved_is_pulled_again(hub, models):
    name = f"owner/{PRIOR}@main"
    before = fingerprint_of(pull(name, models))
    path = hub.root / PRIOR / "scheduler/scheduler_config.json"
    path.write_text(path.read_text().replace("10.0", "9.0"))
    folder = pull(name, models)
    assert commit_of(folder) == hub.commit(PRIOR)
    assert fingerprint_of(folder) != before


def test_a_name_with_a_revision_needs_no_pull_where_there_is_a_hub(hub):
    folder = checkpoint_folder(f"owner/{PRIOR}@{hub.commit(PRIOR)}")
    assert (folder / "tokenizer/merges.txt").exists()
    assert not list(folder.rglob("*.bin"))
    with pytest.raises(CheckpointError, match=r"owner/kandinsky-2-1-prior@v9"):
        checkpoint_folder(f"owner/{PRIOR}@v9")


@pytest.mark.parametrize("name", ["owner/none", "no-name", f"owner/{PRIOR}@../../x", f"owner/{PRIOR}@v9"])
def test_what_the_hub_does_not_have_is_one_sentence(hub, models, name):
    with pytest.raises(CheckpointError, match=r"^cannot load .*") as caught:
        pull(name, models)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", ["../../../stranger.json", "/tmp/stranger.json"])
def test_a_file_that_leads_out_of_its_repository_is_not_fetched(hub, models, path, monkeypatch):
    files = [facts | {"rfilename": path, "path": path} for facts in hub.files(PRIOR)[:1]] + hub.files(PRIOR)
    monkeypatch.setattr(hub, "files", lambda _: files)
    with pytest.raises(CheckpointError, match=r"stranger\.json leads out of the repository"):
        pull(f"owner/{PRIOR}", models)


def test_a_repository_without_safetensors_is_refused(hub, models):
    for path in (hub.root / PRIOR).rglob("*.safetensors"):
        path.unlink()
    with pytest.raises(CheckpointError, match="has no weights in safetensors"):
        pull(f"owner/{PRIOR}", models)
