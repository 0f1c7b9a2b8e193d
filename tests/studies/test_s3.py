"""The small study with its results in object storage: an S3 server on loopback (make test-s3)."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.same_results import assert_same_results, files
from tests.helpers.small_study import LEFT_OUT, prepare, snakemake, told

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("s3")]

BUCKET = "counterpoint"
PREFIX = "studies/one"


class Server:
    """An S3 server of moto's on the loopback interface, with one empty bucket."""

    def __init__(self, address: str) -> None:
        import boto3

        self.address = address
        self.client: Any = boto3.client("s3", endpoint_url=address, region_name="us-east-1")
        self.client.create_bucket(Bucket=BUCKET)

    def options(self) -> tuple[str, ...]:
        """What a user adds to the command line."""
        return (
            *("--default-storage-provider", "s3"),
            *("--default-storage-prefix", f"s3://{BUCKET}/{PREFIX}"),
            *("--storage-s3-endpoint-url", self.address),
        )

    def stored(self) -> set[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return {one["Key"] for page in pages for one in page.get("Contents", ())}

    def download(self, folder: Path) -> Path:
        """Everything below `PREFIX`, as files."""
        for key in self.stored():
            path = folder / Path(key).relative_to(PREFIX)
            path.parent.mkdir(parents=True, exist_ok=True)
            self.client.download_file(BUCKET, key, str(path))
        return folder


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    from moto.server import ThreadedMotoServer

    # The server takes any; without them the client would look for a user's own.
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "anyone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "anything")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    try:
        yield Server("http://{}:{}".format(*running.get_host_and_port()))
    finally:
        running.stop()


def test_results_in_object_storage_equal_the_local_ones(server: Server, tmp_path: Path) -> None:
    started = time.monotonic()
    local, far = (prepare(tmp_path / name, **LEFT_OUT) for name in ("local", "far"))
    done = snakemake(local)
    assert done.returncode == 0, done.stdout
    done = snakemake(far, *server.options())
    assert done.returncode == 0, done.stdout
    print(f"\nsnakemake --cores 2 {' '.join(server.options())}\n{told(done.stdout)}")

    # Nothing but the bucket has them, and the bucket has nothing else.
    assert not (far / "results" / "small").exists() or not files(far / "results" / "small")
    assert all(key.startswith(f"{PREFIX}/results/") for key in server.stored())
    results = server.download(tmp_path / "fetched") / "results" / "small"
    compared = assert_same_results(local / "results" / "small", results)

    # What is there is not made again, what is taken away is, and what does not need it stays.
    again = snakemake(far, *server.options())
    assert "Nothing to be done" in again.stdout, again.stdout
    lost = f"{PREFIX}/results/small/report.html"
    kept = f"{PREFIX}/results/small/heads.parquet"
    written = server.client.head_object(Bucket=BUCKET, Key=kept)["LastModified"]
    server.client.delete_object(Bucket=BUCKET, Key=lost)
    again = snakemake(far, *server.options())
    assert again.returncode == 0, again.stdout
    assert lost in server.stored()
    assert server.client.head_object(Bucket=BUCKET, Key=kept)["LastModified"] == written
    print(f"Without the report in the bucket:\n{told(again.stdout)}")
    took = time.monotonic() - started
    print(f"{compared} files agree with those of a run in a folder; {took:.0f} s")
