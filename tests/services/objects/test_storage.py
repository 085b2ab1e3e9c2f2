"""Laws that both stores keep, over a real S3 server and a real disk."""

import random
import re
import resource
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
from conftest import BUCKET, S3_KEYS
from minio import Minio

from proxy import proxied
from servers import eventually, free_port, s3_server
from services.errors import StorageError
from services.objects.storage import LocalStorage, S3Storage, media_type_of

KEY = "jobs/a/1/0.png"


def s3(url, *, access_key=S3_KEYS[0], secret_key=S3_KEYS[1], bucket=BUCKET, **options):
    return S3Storage(url, access_key=access_key, secret_key=secret_key, bucket=bucket, region="us-east-1", **options)


@pytest.fixture(params=["local", "s3"])
def storage(request, tmp_path):
    if request.param == "local":
        return LocalStorage(tmp_path, signing_key="k" * 32, public_url="http://gateway")
    storage = s3(request.getfixturevalue("s3_url"))
    storage.delete("jobs/")
    return storage


def test_object_is_what_was_put(storage):
    assert not storage.exists("jobs/a/1/0.png")
    for data in (b"first", b"second"):
        storage.put("jobs/a/1/0.png", data, "image/png")
        assert storage.get("jobs/a/1/0.png") == data
    assert storage.exists("jobs/a/1/0.png")
    storage.check()


def test_missing_object_is_an_error_that_names_it(storage):
    with pytest.raises(StorageError, match=r"jobs/a/1/0\.png"):
        storage.get("jobs/a/1/0.png")


def test_keys_are_all_that_is_below_the_prefix(storage):
    keys = [f"jobs/{name}/1/{index}.png" for name in ("a", "ab", "b") for index in range(3)]
    for key in keys:
        storage.put(key, b"x", "image/png")
    assert sorted(storage.keys("jobs/")) == keys
    assert sorted(storage.keys("jobs/a/")) == keys[:3]
    assert list(storage.keys("jobs/c/")) == []


def test_delete_erases_the_prefix_and_nothing_else(storage):
    keys = ["jobs/a/1/0.png", "jobs/a/2/0.png", "jobs/ab/1/0.png"]
    for key in keys:
        storage.put(key, b"x", "image/png")
    assert storage.holds("jobs/a/")
    storage.delete("jobs/a/")
    storage.delete("jobs/a/")
    assert [storage.holds(prefix) for prefix in ("jobs/a/", "jobs/ab/", "jobs/b/")] == [False, True, False]
    assert [storage.exists(key) for key in keys] == [False, False, True]


@pytest.mark.parametrize("key", ["../secret", "jobs/../../secret", "a\0b"])
def test_local_key_does_not_lead_out_of_the_root(tmp_path, key):
    storage = LocalStorage(tmp_path / "objects", signing_key="k" * 32, public_url="http://gateway")
    with pytest.raises(StorageError, match="no object key"):
        storage.put(key, b"x", "image/png")
    assert storage.path("/etc/passwd") == tmp_path / "objects/etc/passwd"


def test_local_root_may_lead_through_its_parent(tmp_path):
    storage = LocalStorage(tmp_path / "checkout" / ".." / "data", signing_key="k" * 32, public_url="http://gateway")
    storage.put("jobs/a/1/0.png", b"x", "image/png")
    assert (tmp_path / "data/jobs/a/1/0.png").read_bytes() == storage.get("jobs/a/1/0.png") == b"x"


def test_put_that_fails_leaves_nothing(tmp_path):
    storage = LocalStorage(tmp_path, signing_key="k" * 32, public_url="http://gateway")
    (tmp_path / "jobs").write_text("a file where a folder belongs")
    with pytest.raises(StorageError, match=r"^jobs/a cannot be written: "):
        storage.put("jobs/a", b"x", "image/png")
    assert [path.name for path in tmp_path.iterdir()] == ["jobs"]


@pytest.mark.parametrize("suffix", ["png", "webp", "jpeg"])
def test_every_format_has_its_media_type(suffix):
    assert media_type_of(f"jobs/a/1/0.{suffix}") == f"image/{suffix}"


def fetch(url):
    """Status, body and media type of a GET."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=10) as answer:
            return answer.status, answer.read(), answer.headers["content-type"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, None, None


def signed(storage, key, ttl_s):
    return storage.signed_url(key, datetime.now(UTC) + timedelta(seconds=ttl_s), ttl_s)


def test_url_of_a_time_is_the_same_each_time(storage):
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=30)
    urls = []
    for _ in range(2):
        urls.append(storage.signed_url(KEY, soon, 60))
        time.sleep(1.1)
    assert urls[0] == urls[1] != storage.signed_url(KEY, soon + timedelta(seconds=1), 60)


def test_presigned_url_opens_its_object_only(s3_url):
    storage = s3(s3_url)
    for key in ("jobs/a/1/0.webp", "jobs/b/1/0.webp"):
        storage.put(key, key.encode(), "image/webp")
    url = signed(storage, "jobs/a/1/0.webp", 60)
    assert fetch(url) == (200, b"jobs/a/1/0.webp", "image/webp")
    for forged in (url.replace("/a/", "/b/"), url.replace("Expires=60", "Expires=600"), url.partition("?")[0]):
        assert fetch(forged)[0] == 403


def test_presigned_url_leads_where_the_public_reaches_the_store(s3_url):
    with proxied(urlsplit(s3_url).port) as proxy:
        storage = s3(s3_url, public_url=f"http://localhost:{proxy.port}")
        storage.put(KEY, b"x", "image/png")
        assert proxy.taken == 0
        url = signed(storage, KEY, 60)
        assert url.startswith(f"http://localhost:{proxy.port}/{BUCKET}/")
        assert fetch(url) == (200, b"x", "image/png")
        assert proxy.taken > 0


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("red-chair-1.png", 'attachment; filename="red-chair-1.png"'),
        ('椅 "1".png', "attachment; filename*=UTF-8''%E6%A4%85%20%221%22.png"),
    ],
)
def test_presigned_url_has_the_file_saved_under_its_name(s3_url, name, header):
    storage = s3(s3_url)
    storage.put(KEY, b"x", "image/png")
    url = storage.signed_url(KEY, datetime.now(UTC) + timedelta(seconds=60), 60, name)
    with urllib.request.urlopen(url) as answer:
        assert answer.headers["content-disposition"] == header
    assert fetch(re.sub("response-content-disposition=[^&]*", "response-content-disposition=inline", url))[0] == 403


def test_presigned_url_ends_and_cannot_be_altered(s3_url):
    storage = s3(s3_url)
    storage.put("jobs/a/1/0.webp", b"x", "image/webp")
    short, long = signed(storage, "jobs/a/1/0.webp", 1), signed(storage, "jobs/a/1/0.webp", 60)
    date, signature = re.search(r"X-Amz-Date=(\w+)", long)[1], long.rpartition("X-Amz-Signature=")[2]
    time.sleep(2)
    altered = [long[:-1] + ("0" if long[-1] != "0" else "1"), long.replace(signature, "0" * 64)]
    altered.append(long.replace(date, date[:-2] + "Z"))
    for url in (short, short.replace("Expires=1&", "Expires=60&"), *altered):
        assert fetch(url)[0] in {400, 403}
    assert fetch(long)[0] == 200


@pytest.mark.parametrize(
    "path", ["", f"{BUCKET}/", f"{BUCKET}?list-type=2", f"{BUCKET}/jobs/", f"{BUCKET}/jobs/a/1/0.webp"]
)
def test_stranger_reads_and_lists_nothing(s3_url, path):
    s3(s3_url).put("jobs/a/1/0.webp", b"x", "image/webp")
    assert fetch(f"{s3_url}/{path}")[0] == 403


# pragma: allowlist nextline secret
@pytest.mark.parametrize("wrong", [{"secret_key": "not-the-secret"}, {"access_key": "nobody"}, {"bucket": "no-bucket"}])
def test_store_that_refuses_us_is_an_error_at_once(s3_url, wrong, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("a refusal was tried again"))
    storage = s3(s3_url, **wrong)
    with pytest.raises(StorageError, match=r"^jobs/a/1/0.png cannot be stored$"):
        storage.put("jobs/a/1/0.png", b"x", "image/png")
    with pytest.raises(StorageError):
        storage.check()


def test_store_that_is_away_is_tried_again_and_then_an_error(monkeypatch):
    pauses, sleep = [], time.sleep
    monkeypatch.setattr("time.sleep", lambda pause_s: pauses.append(pause_s) or sleep(pause_s))
    with pytest.raises(StorageError, match=r"^jobs/a/1/0.png cannot be stored$"):
        s3(f"http://127.0.0.1:{free_port()}", patience_s=2).put("jobs/a/1/0.png", b"x", "image/png")
    assert len(pauses) >= 2
    assert sum(pauses) < 2


@pytest.mark.parametrize(
    ("call", "arguments"),
    [("put", (KEY, b"x", "image/png")), ("get", (KEY,)), ("exists", (KEY,)), ("delete", ("jobs/a/",)), ("check", ())],
)
def test_slow_store_is_an_error_in_bounded_time(s3_url, call, arguments):
    with proxied(urlsplit(s3_url).port) as proxy:
        proxy.delay_s = 60
        begin = time.monotonic()
        with pytest.raises(StorageError):
            getattr(s3(f"http://127.0.0.1:{proxy.port}", patience_s=1), call)(*arguments)
        assert time.monotonic() - begin < 5


def test_store_that_sends_drop_by_drop_is_an_error_in_bounded_time(s3_url):
    s3(s3_url).put(KEY, bytes(2**20), "image/png")
    with proxied(urlsplit(s3_url).port) as proxy:
        proxy.delay_s = 0.4
        begin = time.monotonic()
        with pytest.raises(StorageError, match=f"^{KEY} cannot be read$"):
            s3(f"http://127.0.0.1:{proxy.port}", patience_s=1).get(KEY)
        assert time.monotonic() - begin < 10


@pytest.fixture
def own_s3(tmp_path):
    server = s3_server(tmp_path, *S3_KEYS)
    server.start()
    Minio(f"127.0.0.1:{server.address}", *S3_KEYS, secure=False, region="us-east-1").make_bucket(BUCKET)
    yield server
    server.stop()


def test_store_that_dies_in_the_middle_of_an_upload_gets_the_whole_object_once_it_is_back(own_s3):
    data = random.Random(7).randbytes(2**22)
    with proxied(own_s3.address) as proxy, ThreadPoolExecutor() as pool:
        proxy.delay_s = 0.05
        put = pool.submit(s3(f"http://127.0.0.1:{proxy.port}").put, KEY, data, "image/png")
        assert eventually(lambda: proxy.taken > 2**18)
        own_s3.kill()
        proxy.delay_s = 0
        time.sleep(1)
        own_s3.start()
        put.result(timeout=60)
    assert s3(f"http://127.0.0.1:{own_s3.address}").get(KEY) == data


def test_full_disk_is_an_error_and_leaves_neither_half_a_file_nor_a_draft(tmp_path):
    storage = LocalStorage(tmp_path, signing_key="k" * 32, public_url="http://gateway")
    storage.put("jobs/a/1/0.png", b"first", "image/png")
    with (
        disk_that_takes(1000),
        pytest.raises(StorageError, match=f"^{KEY} cannot be written: File too large"),
    ):
        storage.put("jobs/a/1/0.png", bytes(5000), "image/png")
    assert storage.get("jobs/a/1/0.png") == b"first"
    assert [path.name for path in (tmp_path / "jobs/a/1").iterdir()] == ["0.png"]


@contextmanager
def disk_that_takes(limit):
    """Let no file grow beyond `limit` bytes meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
