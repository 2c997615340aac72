"""The cache: where it is, and that its folders are complete, even if other processes build meanwhile or are killed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from romancy_conformance.servers import ServerUnavailableError
from romancy_conformance.servers.account import server_account
from romancy_conformance.servers.cache import build_once, cache_folder, in_words


@pytest.fixture
def open_folder(monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that every account can reach, which need not exist yet."""
    for name in ("ROMANCY_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    return Path("/") / "nowhere"


def test_it_is_where_the_environment_says(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(open_folder / "home"))
    assert cache_folder() == open_folder / "home" / ".cache" / "romancy"

    monkeypatch.setenv("XDG_CACHE_HOME", str(open_folder / "xdg"))
    assert cache_folder() == open_folder / "xdg" / "romancy"

    monkeypatch.setenv("ROMANCY_CACHE", str(open_folder / "own"))
    assert cache_folder() == open_folder / "own"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs servers under another account")
def test_root_is_told_of_a_place_the_servers_cannot_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    monkeypatch.setenv("ROMANCY_CACHE", str(closed / "cache"))

    assert server_account() is not None
    with pytest.raises(ServerUnavailableError, match="cannot reach ROMANCY_CACHE"):
        cache_folder()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs servers under another account")
def test_root_with_a_closed_home_uses_the_cache_of_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROMANCY_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    tmp_path.chmod(0o700)
    monkeypatch.setenv("HOME", str(tmp_path))

    assert cache_folder() == Path("/var/cache/romancy")


def test_a_place_that_cannot_be_written_is_named_with_the_reason() -> None:
    def build(_: Path) -> None:
        pytest.fail("there is no folder to build in")

    with pytest.raises(
        ServerUnavailableError,
        match=r"the cache /proc/none cannot be written: No such file or directory; set ROMANCY_CACHE to a folder",
    ):
        build_once(Path("/proc/none/thing"), build)


def test_the_many_reasons_of_a_copy_that_failed_are_one(tmp_path: Path) -> None:
    for side, make in (("from", Path.mkdir), ("to", Path.touch)):
        for name in ("one", "two"):
            (tmp_path / side).mkdir(exist_ok=True)
            make(tmp_path / side / name)

    with pytest.raises(shutil.Error) as failed:
        shutil.copytree(tmp_path / "from", tmp_path / "to", dirs_exist_ok=True)

    assert in_words(failed.value) == "File exists"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs servers under another account")
def test_servers_of_another_account_reach_what_a_narrow_umask_made(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    before = os.umask(0o077)
    try:
        built = build_once(tmp_path / "a" / "b" / "thing", lambda folder: (folder / "whole").touch())
    finally:
        os.umask(before)

    assert [0o755] * 3 == [path.stat().st_mode & 0o777 for path in (built, built.parent, built.parent.parent)]


def test_many_at_once_build_one(tmp_path: Path) -> None:
    built: list[Path] = []

    def build(folder: Path) -> None:
        built.append(folder)
        (folder / "half").write_text("")
        time.sleep(0.05)  # the others arrive meanwhile
        (folder / "whole").write_text("")

    def use(_: int) -> bool:
        return (build_once(tmp_path / "thing", build) / "whole").exists()

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(use, range(8))) == [True] * 8
    assert len(built) == 1


def test_a_build_that_fails_leaves_the_place_free(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("")
        raise ServerUnavailableError("no network")

    with pytest.raises(ServerUnavailableError):
        build_once(tmp_path / "thing", fail)

    assert not (tmp_path / "thing").exists()
    assert list(build_once(tmp_path / "thing", lambda folder: (folder / "whole").touch()).iterdir()) == [
        tmp_path / "thing" / "whole"
    ]


def test_a_builder_that_is_killed_lets_the_next_one_build(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from romancy_conformance.servers.cache import build_once\n"
        "def build(folder): (folder / 'half').touch(); os.kill(os.getpid(), signal.SIGKILL)\n"
        "build_once(Path(sys.argv[1]), build)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "thing")], check=False)
    assert (tmp_path / "thing.new" / "half").exists()

    built = build_once(tmp_path / "thing", lambda folder: (folder / "whole").touch())

    assert [path.name for path in built.iterdir()] == ["whole"]
    assert not (tmp_path / "thing.new").exists()
