"""A backup and its restore as docs/backup.md has them, over redis-py and an S3 client."""

import io
import shutil
from collections.abc import Mapping
from pathlib import Path

import redis
from minio import Minio

from tests.servers import Server, eventually, redis_server, url_of


def save_redis(server: Server, folder: Path) -> Path:
    """A snapshot of the running server, as a file in `folder`."""
    with redis.Redis.from_url(url_of(server), decode_responses=True) as client:
        before = client.info("persistence")["rdb_last_save_time"]
        client.bgsave()
        assert eventually(lambda: not client.info("persistence")["rdb_bgsave_in_progress"])
        assert client.info("persistence")["rdb_last_save_time"] >= before
        return Path(shutil.copy(Path(client.config_get("dir")["dir"]) / "dump.rdb", folder))


def load_snapshot(binary: str, folder: Path, saved: Path) -> None:
    """Have the append-only file in `folder` begin with what was saved: a server that appends reads no snapshot."""
    shutil.copy(saved, folder / "dump.rdb")
    server = redis_server(binary, folder, appendonly="no")
    server.start()
    with redis.Redis.from_url(url_of(server), decode_responses=True) as client:
        assert eventually(lambda: not client.info("persistence")["loading"])
        client.config_set("appendonly", "yes")
        assert eventually(lambda: not client.info("persistence")["aof_rewrite_in_progress"])
    server.stop()


def copy_bucket(client: Minio, bucket: str) -> dict[str, bytes]:
    """Every object."""
    names = (item.object_name or "" for item in client.list_objects(bucket, recursive=True))
    return {name: _read(client, bucket, name) for name in names if not name.endswith("/")}


def fill_bucket(client: Minio, bucket: str, objects: Mapping[str, bytes]) -> None:
    for name, data in objects.items():
        client.put_object(bucket, name, io.BytesIO(data), len(data))


def _read(client: Minio, bucket: str, name: str) -> bytes:
    response = client.get_object(bucket, name)
    try:
        return response.read()
    finally:
        response.release_conn()
