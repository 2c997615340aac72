"""A minimal Debian in a folder: made by debootstrap once, kept as an archive in the cache, unpacked for each run.

The archive contains no setting of this machine. `configure` copies what an unpacked root needs to reach the same
package sources as this machine: its apt source with the suite replaced, its settings of apt and pip, its certificates.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

from romancy_conformance.servers.cache import build_once
from romancy_conformance.servers.debian import source_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PACKAGES: Final = ("make", "git", "python3", "python3-venv")
"""What README names; nothing else is installed beside Debian's minimal base."""
_NAMESPACES: Final = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
_IN_CONTAINER: Final = ("env", "container=lxc")
"""With it debootstrap binds the devices that it may not make; in a user namespace nobody may make one."""
_SYSTEM_PROGRAMS: Final = "/usr/sbin:/sbin"
_LEFT_OUT: Final = ("./dev/*", "./proc/*", "./sys/*", "./run/*", "./var/cache/apt/*", "./var/lib/apt/lists/*")
_APT_SETTING: Final = re.compile(r'Acquire::(?:https?|ftp|Check|Retries|ForceIP)\S* "[^"]*";')
_CONFIGURED: Final = ("/etc/hosts", "/etc/resolv.conf", "/etc/pip.conf", "/etc/apt/auth.conf", "/etc/apt/auth.conf.d")


class RootError(Exception):
    """A root cannot be made here; the message says why."""


def require_debootstrap() -> None:
    """Install debootstrap if it is absent and this process is root."""
    if shutil.which("debootstrap", path=f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM_PROGRAMS}"):
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", "debootstrap"]
    if not shutil.which("apt-get") or os.geteuid() != 0:
        raise RootError("debootstrap is not installed. Run: sudo apt-get install debootstrap")
    print("test-fresh: installing debootstrap by apt", flush=True)
    _run(["apt-get", "update", "--quiet"])
    _run(command)


def archive_of(suite: str, cache: Path) -> Path:
    """Return the archive of a minimal root of `suite`; make it on first use."""
    digest = hashlib.sha256(" ".join(PACKAGES).encode()).hexdigest()[:8]

    def build(folder: Path) -> None:
        print(f"test-fresh: making a minimal root of {suite} with debootstrap", flush=True)
        require_debootstrap()
        _bootstrap(suite, folder / "root")
        left_out = [f"--exclude={pattern}" for pattern in _LEFT_OUT]
        _run(["tar", "--numeric-owner", "-C", str(folder / "root"), *left_out, "-czf", str(folder / "root.tgz"), "."])
        shutil.rmtree(folder / "root")

    folder = cache / "machines" / f"{suite}-{digest}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    return build_once(folder, build) / "root.tgz"


def _bootstrap(suite: str, target: Path) -> None:
    _, source = source_for(suite)
    mirror, keyring = mirror_of(source)
    options = ["--variant=minbase", f"--include={','.join(PACKAGES)}"]
    if keyring:
        options.append(f"--keyring={keyring}")
    _run([*_NAMESPACES, *_IN_CONTAINER, "debootstrap", *options, suite, str(target), mirror])


def mirror_of(source: str) -> tuple[str, str | None]:
    """Return the address and the keyring that the text of an apt source names."""
    address = re.search(r"^(?:URIs:\s*|deb\s+(?:\[[^]]*\]\s+)?)(\S+)", source, re.MULTILINE | re.IGNORECASE)
    if address is None:
        raise RootError("the apt source of this machine names no address")
    keyring = re.search(r"signed-by\s*[:=]\s*(/[^\s\]]+\.(?:gpg|pgp))", source, re.IGNORECASE)
    return address[1], keyring[1] if keyring else None


def unpack(archive: Path, root: Path) -> None:
    """Unpack a root into a new folder."""
    root.mkdir(parents=True)
    root.chmod(0o755)
    _run(["tar", "--numeric-owner", "-xpzf", str(archive), "-C", str(root)])


def configure(root: Path, suite: str, environment: Mapping[str, str]) -> None:
    """Give the root the package sources of this machine, and the files that its settings and `environment` name."""
    name, source = source_for(suite)
    apt = root / "etc/apt"
    (apt / "sources.list").unlink(missing_ok=True)
    (apt / "sources.list.d" / name).write_text(source, "utf-8")
    settings = _apt_settings()
    (apt / "apt.conf.d" / "99host").write_text("\n".join([*settings, ""]), "utf-8")
    named = re.findall(r'[ "=](/[^\s"\]]+)', "\n".join([source, *settings]))
    for path in {*_CONFIGURED, *named, *_paths_in(environment.values())}:
        _copy(Path(path), root / path.lstrip("/"))
    for own in (Path.home() / ".config/pip/pip.conf", Path.home() / ".pip/pip.conf"):
        _copy(own, root / "etc/xdg/pip/pip.conf")


def _apt_settings() -> list[str]:
    """Return the proxies, time limits and checks that this machine's apt is configured with."""
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
    return [line for line in dump.splitlines() if _APT_SETTING.fullmatch(line)]


def _paths_in(values: Iterable[str]) -> set[str]:
    return {word for value in values for word in value.split() if word.startswith("/")}


def _copy(path: Path, target: Path) -> None:
    """Copy a file, or a folder with what its links point to; nothing if there is none or the root has its own."""
    if not path.exists() or (target.exists() and target.is_dir() and any(target.iterdir())):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.copytree(path, target, ignore_dangling_symlinks=True, dirs_exist_ok=True)
    else:
        target.unlink(missing_ok=True)  # a link, such as that of resolv.conf, would lead out of the root
        shutil.copyfile(path, target)


def _run(command: list[str]) -> None:
    """Run a command quietly; say the end of its output if it fails."""
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    environment["PATH"] = f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM_PROGRAMS}"
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        said = " / ".join(done.stdout.strip().splitlines()[-5:])
        raise RootError(f"`{' '.join(command)[:120]}` failed: {said}")
