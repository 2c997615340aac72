"""Programs from Debian packages, unpacked into the cache and run there; the machine stays unchanged.

Packages are unpacked, not installed. So this needs no root, starts no service and leaves the machine's package database
alone. A program of another suite can run beside this one's libraries, because each program is started with the dynamic
loader and the C library of its own suite. The machine contributes only its Debian source, with the suite replaced.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

from .cache import build_once, cache_folder, locked
from .kinds import ServerUnavailableError

_SOURCES = Path("/etc/apt")
_MOVING_SUITE = "sid"
"""Its release file expires a week after its date, so a mirror or proxy that is older offers an expired one. The
signatures are checked all the same. Other suites have no such limit, or one that matters."""
_PROGRAM_FOLDERS = ("usr/sbin", "usr/bin", "usr/lib/postgresql/*/bin")
_LIBRARY_FOLDERS = ("lib/*-linux-gnu*", "usr/lib/*-linux-gnu*", "usr/lib/mysql/private")
_LOADERS = ("lib/*-linux-gnu*/ld-linux*.so.*", "usr/lib/*-linux-gnu*/ld-linux*.so.*")


def own_suite() -> str:
    """Return the suite of this machine, such as `bookworm`."""
    try:
        return platform.freedesktop_os_release()["VERSION_CODENAME"]
    except (OSError, KeyError):
        raise ServerUnavailableError("this machine names no Debian suite in os-release") from None


def unpacked_folder(package: str, suite: str | None) -> Path:
    """Return the folder of `package` of `suite` (None: the machine's) after unpacking."""
    return cache_folder() / "packages" / f"{suite or own_suite()}-{package}"


def unpack(package: str, suite: str | None) -> Path:
    """Return the folder with `package` of `suite` and all its dependencies; fetch it on first use."""
    suite = suite or own_suite()
    folder = unpacked_folder(package, suite)

    def build(target: Path) -> None:
        with locked(cache_folder() / "apt" / f"{suite}.lock"):
            archives = _download(package, suite)
            for archive in sorted(archives.glob("*.deb")):
                _run("dpkg-deb", "--extract", str(archive), str(target))
            shutil.rmtree(archives)
        _make_runnable(target, folder)

    return build_once(folder, build)


def _download(package: str, suite: str) -> Path:
    """Fetch `package` of `suite` and its dependencies into a folder of archives."""
    private = cache_folder() / "apt" / suite
    archives = private / "cache" / "archives"
    shutil.rmtree(archives, ignore_errors=True)
    for folder in (private / "state/lists/partial", archives / "partial", private / "sources"):
        folder.mkdir(parents=True, exist_ok=True)
    (private / "status").touch()
    name, text = source_for(suite)
    (private / "sources" / name).write_text(text, encoding="utf-8")
    settings = {
        "Dir::State": private / "state",
        "Dir::State::status": private / "status",  # nothing is installed; apt's locks are in this folder
        "Dir::Cache": private / "cache",
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": private / "sources",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "APT::Default-Release": "",
        "APT::Sandbox::User": "",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
        "Acquire::Check-Valid-Until": "false" if suite == _MOVING_SUITE else "true",
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
    }
    options = [part for key, value in settings.items() for part in ("-o", f"{key}={value}")]
    _run("apt-get", *options, "--quiet", "update")
    _run("apt-get", *options, "--quiet", "--yes", "--download-only", "--no-install-recommends", "install", package)
    return archives


def _run(*command: str) -> None:
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise ServerUnavailableError(f"`{command[0]}` is not on this machine") from None
    except subprocess.CalledProcessError as error:
        said = f"{error.stdout}{error.stderr}".strip().splitlines()[-5:]
        raise ServerUnavailableError(f"`{command[0]} … {command[-1]}` failed: " + " / ".join(said)) from None


def source_for(suite: str) -> tuple[str, str]:
    """Return name and text of a private apt source: the machine's own Debian source with its suite replaced."""
    own = own_suite()
    lists = [_SOURCES / "sources.list", *sorted((_SOURCES / "sources.list.d").glob("*.list"))]
    for path in [path for path in lists if path.exists()]:
        for line in path.read_text(encoding="utf-8").splitlines():
            if replaced := one_line_source(line, own, suite):
                return "romancy.list", replaced
    for path in sorted((_SOURCES / "sources.list.d").glob("*.sources")):
        for paragraph in re.split(r"\n\s*\n", path.read_text(encoding="utf-8")):
            if replaced := deb822_source(paragraph, own, suite):
                return "romancy.sources", replaced
    raise ServerUnavailableError(f"no apt source of this machine offers `{own} main`")


def one_line_source(line: str, own: str, suite: str) -> str | None:
    """Return `line` of a sources.list for `suite`, or None if it is not the source of `own main`."""
    found = re.fullmatch(r"deb\s+(?P<options>\[[^]]*\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<rest>.*)", line)
    if found is None or found["suite"] != own or "main" not in found["rest"].split():
        return None
    return f"deb {found['options'] or ''}{found['uri']} {suite} main\n"


def deb822_source(paragraph: str, own: str, suite: str) -> str | None:
    """Return `paragraph` of a .sources file for `suite`, or None if it is not the source of `own main`."""
    text = "\n".join(line for line in paragraph.splitlines() if not line.startswith("#"))
    found = re.findall(r"^([\w-]+):(.*(?:\n[ \t].*)*)", text, re.MULTILINE)
    fields = {name.lower(): value.split() for name, value in found}
    wanted = own in fields.get("suites", []) and "main" in fields.get("components", [])
    if not wanted or "deb" not in fields.get("types", []) or fields.get("enabled") == ["no"]:
        return None
    for name, value in (("Suites", suite), ("Components", "main"), ("Types", "deb")):
        text = re.sub(rf"^{name}:.*(?:\n[ \t].*)*", f"{name}: {value}", text, flags=re.MULTILINE | re.IGNORECASE)
    return text.strip() + "\n"


def _make_runnable(built: Path, final: Path) -> None:
    """Replace each program in `built` with a script that starts it with its own loader from `final`."""
    for path in built.rglob("*"):
        if not path.is_symlink() and path.stat().st_mode & 0o6000:
            path.chmod(0o755)  # no set-uid program may lie in a cache
    loader = next((path for pattern in _LOADERS for path in built.glob(pattern)), None)
    if loader is None:
        raise ServerUnavailableError("the unpacked packages hold no dynamic loader")
    libraries = ":".join(
        str(final / path.relative_to(built)) for pattern in _LIBRARY_FOLDERS for path in sorted(built.glob(pattern))
    )
    for path in (path for pattern in _PROGRAM_FOLDERS for path in built.glob(f"{pattern}/*")):
        if path.is_symlink() or not path.is_file():
            continue
        with path.open("rb") as program:
            if program.read(4) != b"\x7fELF":
                continue
        real = path.rename(path.with_name(f".{path.name}.elf"))
        start, target = final / loader.relative_to(built), final / real.relative_to(built)
        path.write_text(
            f'#!/bin/sh\nexec "{start}" --argv0 "$0" --library-path "{libraries}" "{target}" "$@"\n', encoding="utf-8"
        )
        path.chmod(0o755)
