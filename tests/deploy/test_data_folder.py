import pytest

from deploy.local.data_folder import claimed, signing_key, webhook_secret
from deploy.local.stack.child import StackError
from services.settings import Settings


def test_data_folder_is_held_by_one_at_a_time(tmp_path):
    with claimed(tmp_path / "data") as folder, pytest.raises(StackError, match=f"{folder} is in use"), claimed(folder):
        pass
    with claimed(folder):
        pass


def test_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StackError, match="file/data cannot be written"), claimed(tmp_path / "file" / "data"):
        pass


def test_folder_may_lead_through_its_parent_or_a_link(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "data")
    for given in (tmp_path / "checkout" / ".." / "data", tmp_path / "link"):
        with claimed(given) as folder:
            assert folder == tmp_path / "data"


@pytest.mark.parametrize("secret", [signing_key, webhook_secret])
def test_secret_is_drawn_once_strong_and_private(tmp_path, secret):
    drawn = secret(tmp_path)
    assert Settings.read(**{"signing_key": drawn, secret.__name__: drawn})
    assert secret(tmp_path) == drawn
    assert (tmp_path / secret.__name__).stat().st_mode & 0o077 == 0
