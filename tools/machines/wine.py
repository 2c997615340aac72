"""CPython for Windows under Wine, in a Debian 13 of its own in the cache: built once, run in namespaces of Linux.

A command sees three folders of this machine as drives: the tree as `T:`, the packages of the lock file as `P:` and a
folder for its work as `W:`. The namespaces end with the command, and so does every process that it started.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
import tomllib
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from romancy_conformance.servers.cache import build_once, cache_folder, locked
from tools import distribution
from tools.tree import ROOT

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

SUITE: Final = "trixie"
PYTHON: Final = "3.14.3"
ARTIFACT: Final = f"org.bytedeco:cpython:{PYTHON}-1.5.13:jar:windows-x86_64"
"""Maven's client fetches it; ROMANCY_WINDOWS_PYTHON may name the file instead."""
TOOLS: Final = ("pytest-timeout", "pytest-xdist")
_NAMESPACES: Final = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
_INSIDE: Final = """\
set -e
mount --make-rprivate /
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
mount --bind "$2" "$1/drives/t"
mount --bind "$3" "$1/drives/p"
mount --bind "$4" "$1/drives/w"
root=$1; shift 4
exec chroot "$root" "$@"
"""


class CannotRunError(Exception):
    """This machine cannot run Windows programs; the message says what is missing."""


class Windows:
    """A Windows to run programs on."""

    def __init__(self, root: Path, packages: Path, work: Path) -> None:
        self._folders = (root, ROOT, packages, work)

    def start(
        self, *arguments: str, environment: Mapping[str, str] | None = None, output: int | None = None
    ) -> subprocess.Popen[str]:
        """Start its Python with these arguments."""
        own = {
            "HOME": "/root",
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "WINEPREFIX": "/prefix",
            "WINEDEBUG": "-all",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": r"W:\site;P:;T:",  # of the tree, only what the wheel does not contain
            **(environment or {}),
        }
        inside = ["env", "-i", *(f"{name}={value}" for name, value in own.items()), "wine", r"Z:\python\python.exe"]
        return subprocess.Popen(
            [*_NAMESPACES, "sh", "-c", _INSIDE, "sh", *map(str, self._folders), *inside, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            text=True,
            errors="replace",
        )


@contextmanager
def windows(work: Path) -> Generator[Windows]:
    """A Windows with this tree's wheel on its path, for one run at a time."""
    root, packages = _made()
    site = work / "site"
    with zipfile.ZipFile(distribution.build_wheel(work / "dist")) as wheel:
        wheel.extractall(site)
    with locked(root.with_name(f"{root.name}.run.lock")):
        yield Windows(root, packages, work)


def _made() -> tuple[Path, Path]:
    """The root with Wine and Python, and the packages of the lock file; made at first use."""
    missing = [name for name in ("unshare", "debootstrap") if not shutil.which(name)]
    if sys.platform != "linux" or os.geteuid() != 0 or missing:
        raise CannotRunError(f"needs Linux, root, unshare and debootstrap; missing: {', '.join(missing) or 'root'}")
    cache = cache_folder() / "machines"
    cache.mkdir(parents=True, exist_ok=True)
    root = build_once(cache / f"wine-{_digest(SUITE, ARTIFACT)}", _build)
    return root, build_once(cache / f"wine-packages-{_digest(ARTIFACT, _pins(), *_needed())}", _install_packages)


def _digest(*parts: str) -> str:
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:8]


def _build(root: Path) -> None:
    begun = time.monotonic()
    _say("makes a Debian with Wine in the cache, once: 1.3 GB, about 5 minutes")
    _run("debootstrap", "--variant=minbase", "--include=wine", SUITE, str(root), cwd=root.parent)
    _say(f"fetches CPython {PYTHON} for Windows")
    _unpack_python(_jar(root), root / "python")
    for folder in ("drives/t", "drives/p", "drives/w", "nothing"):
        (root / folder).mkdir(parents=True)
    _run(
        *_NAMESPACES, "sh", "-c", _INSIDE, "sh", str(root), *[str(root / "nothing")] * 3,
        "env", "-i", "HOME=/root", "PATH=/usr/bin:/bin", "WINEPREFIX=/prefix", "WINEDEBUG=-all",
        "WINEDLLOVERRIDES=mscoree=;mshtml=", "sh", "-c", "wineboot -i && wineserver -w",
        cwd=root.parent,
    )  # fmt: skip
    for drive in ("t", "p", "w"):
        (root / "prefix/dosdevices" / f"{drive}:").symlink_to(f"/drives/{drive}")
    _say(f"made it in {time.monotonic() - begun:.0f} s")


def _jar(root: Path) -> Path:
    if given := os.environ.get("ROMANCY_WINDOWS_PYTHON"):
        return Path(given)
    if not shutil.which("mvn"):
        raise CannotRunError(f"needs Maven's client `mvn`, or ROMANCY_WINDOWS_PYTHON with the file of {ARTIFACT}")
    folder = root / "tmp" / "jar"
    _run(
        "mvn", "-q", "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy", f"-Dartifact={ARTIFACT}",
        f"-DoutputDirectory={folder}", cwd=root,
    )  # fmt: skip
    (jar,) = folder.glob("*.jar")
    return jar


def _unpack_python(jar: Path, target: Path) -> None:
    unpacked = target.with_name("unpacked")
    with zipfile.ZipFile(jar) as archive:
        archive.extractall(unpacked)
    python = min(unpacked.rglob("python.exe"), key=lambda path: len(path.parts))  # others are parts of venv
    python.parent.rename(target)
    shutil.rmtree(unpacked)


def _install_packages(folder: Path) -> None:
    """Install what the tree needs on Windows, and what its tests need, as the lock file names it."""
    _say("fetches the wheels of the lock file")
    constraints = folder / "constraints.txt"
    constraints.write_text(_pins(), "utf-8")
    _run(
        sys.executable, "-m", "uv", "pip", "install", "--quiet", "--target", str(folder),
        "--python-platform", "windows", "--python-version", PYTHON.rpartition(".")[0], "--only-binary", ":all:",
        "--constraint", str(constraints), *_needed(), cwd=folder,
    )  # fmt: skip


def _needed() -> list[str]:
    """What the wheel requires, with all extras; the wheel itself changes with each run."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    named = [*project["dependencies"], *(one for needs in extras.values() for one in needs), *TOOLS]
    return [one for one in named if not one.startswith("romancy[")]


def _pins() -> str:
    return "".join(f"{name}=={version}\n" for name, version in distribution.locked_versions().items())


def _run(*command: str, cwd: Path) -> None:
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        said = " / ".join(done.stdout.strip().splitlines()[-5:])
        raise CannotRunError(f"`{' '.join(command)[:100]} …` failed: {said}")


def _say(text: str) -> None:
    print(f"windows: {text}", flush=True)
