import pytest

from deploy.local.child import StackError
from deploy.local.data_folder import claimed, signing_key


def test_data_folder_is_held_by_one_at_a_time(tmp_path):
    with claimed(tmp_path / "data") as folder, pytest.raises(StackError, match=f"{folder} is in use"), claimed(folder):
        pass
    with claimed(folder):
        pass


def test_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StackError, match="file/data cannot be written"), claimed(tmp_path / "file" / "data"):
        pass


def test_signing_key_is_drawn_once_and_private(tmp_path):
    key = signing_key(tmp_path)
    assert len(key) >= 32
    assert signing_key(tmp_path) == key
    assert (tmp_path / "signing_key").stat().st_mode & 0o077 == 0
