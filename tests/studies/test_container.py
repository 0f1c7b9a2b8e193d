"""The Containerfile: its image is built, and the small study runs in it (make test-container).

The base image is made here, by debootstrap, since registries of images may be out of reach.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse

import pytest

from tests.helpers.same_results import HOW_IT_RAN, assert_same_results
from tests.helpers.small_study import MODEL_RULES, ROOT, prepare, snakemake

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("container")]

PROGRAMS = ("buildah", "debootstrap")
BASE, IMAGE = "localhost/counterpoint-base", "localhost/counterpoint"


def run(*command: str | Path) -> str:
    """Run to the end; the output. Fails with it."""
    done = subprocess.run(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-4000:]}"
    return done.stdout


def shared_with_pip() -> Iterator[str]:
    """Folders and files of this machine that its pip reads: how it is told where packages are."""
    pip = [sys.executable, "-m", "pip", "config"]
    for line in subprocess.run([*pip, "debug"], capture_output=True, text=True).stdout.splitlines():
        path, _, exists = line.strip().partition(", exists: ")
        if exists == "True":
            yield path
    for line in subprocess.run([*pip, "list"], capture_output=True, text=True).stdout.splitlines():
        for word in line.partition("=")[2].strip("'\"").split():
            # An index names its packages by paths beside it.
            path = str(Path(urlparse(word).path).parent) if word.startswith("file:") else word
            if path.startswith("/") and Path(path).exists():
                yield path


def mounts() -> list[str]:
    """Of these those that the image does not have itself: it installs its own certificates."""
    paths = [path for path in shared_with_pip() if not path.startswith("/etc/ssl/")]
    return [f"--volume={path}:{path}:ro" for path in dict.fromkeys(paths)]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("building an image on a base made here needs Linux and root")
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        if shutil.which("apt-get") is None:
            pytest.skip(
                f"{missing} are not installed, and there is no apt-get to install them with"
            )
        run("apt-get", "update", "-qq")
        run("apt-get", "install", "-qq", "--yes", "--no-install-recommends", *missing)
    root = tmp_path_factory.mktemp("base") / "root"
    run("debootstrap", "--variant=minbase", "bookworm", root)
    # A site's own certificates, which Debian's package adds to the others.
    trusted = root / "usr" / "local" / "share" / "ca-certificates" / "machine.crt"
    trusted.parent.mkdir(parents=True, exist_ok=True)
    if (certificates := Path("/etc/ssl/certs/ca-certificates.crt")).exists():
        shutil.copy(certificates, trusted)
    base = run("buildah", "from", "scratch").split()[-1]
    run("buildah", "copy", "--quiet", base, root, "/")
    run("buildah", "commit", "--quiet", "--rm", base, BASE)
    shutil.rmtree(root)
    run(
        *("buildah", "build", "--quiet", "--isolation=chroot", "--network=host"),
        *(f"--build-arg=BASE={BASE}", *mounts(), f"--tag={IMAGE}", ROOT),
    )
    yield IMAGE
    run("buildah", "rmi", "--force", IMAGE, BASE)


def test_the_small_study_in_the_image_equals_the_local_one(image: str, tmp_path: Path) -> None:
    started = time.monotonic()
    local, far = prepare(tmp_path / "local"), prepare(tmp_path / "far")
    done = snakemake(local)
    assert done.returncode == 0, done.stdout
    container = run("buildah", "from", image).split()[-1]
    try:
        inside = ("buildah", "run", "--isolation=chroot", f"--volume={far}:/work", container, "--")
        assert run(*inside, "which", "snakemake").split() == [
            "/opt/counterpoint/venv/bin/snakemake"
        ]
        # As many threads as the local run takes: sums in another order are not what is asked about.
        threads = ("--set-threads", *(f"{rule}=1" for rule in MODEL_RULES))
        run(*inside, "snakemake", "--cores", "2", *threads, "--configfile", "small.yaml")
    finally:
        run("buildah", "rm", container)
    # The image has Debian's own Python, of another patch release.
    compared = assert_same_results(
        local / "results" / "small",
        far / "results" / "small",
        may_differ=[*HOW_IT_RAN, "python"],
    )
    print(f"{compared} files agree; {time.monotonic() - started:.0f} s")
