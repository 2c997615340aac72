"""Runs README's commands on fresh machines: Debian 12 and 13, as root and as a user, in usual and in unusual places.

    python -m tools.machines.fresh             # every pairing
    python -m tools.machines.fresh --quick     # the two of continuous integration, one of them in short
    python -m tools.machines.fresh 12-root     # one by its name

Each machine is a minimal Debian in a folder, in namespaces of its own, with nothing but what README names. It gets a
clone of HEAD, so a change that is not committed does not take part. The cache keeps the archive of the base and the
packages that pip and the suite's servers fetch; it never keeps a tree or an environment.

A run is green if `make demo` and `make test` succeed and leave nothing: no process, no file outside of the clone, the
cache and /tmp, and a clean `git status`. If a few tests fail, they get a second look (`make test-again`), as in
`.ci/run`; the report still names them.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from romancy_conformance.servers.cache import cache_folder
from romancy_conformance.servers.kinds import ServerUnavailableError
from tools.machines.debian_root import RootError, archive_of, configure, require_debootstrap, unpack
from tools.machines.inside import MARK, Left, Plan, end
from tools.machines.records import record
from tools.machines.verdict import Outcome, report
from tools.tree import ROOT, day_of_head

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS: Final = ("make demo", "make test || make test-again")
"""README's two commands."""
_SOME: Final = "tests/project/test_environment.py conformance_tests/romancy_conformance/contract/test_values.py"
IN_SHORT: Final = ("make demo", f"make test ARGS='{_SOME}'")
"""The same on a machine whose turn for more tests it is not."""
_TWELFTHS: Final = tuple(
    ("make demo", f"make test ARGS='--part {part}/12' || make test-again") for part in range(1, 13)
)
_SUITES: Final = {12: "bookworm", 13: "trixie"}
_NAMESPACES: Final = ("unshare", "--mount", "--pid", "--ipc", "--fork", "--kill-child")
_USER_NAMESPACE: Final = ("unshare", "--user", "--map-root-user", "--map-auto")
_PASSED_ON: Final = re.compile(
    r"PIP_\w+|SSL_CERT_\w+|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|CI|ROMANCY_CI_RUN|ROMANCY_TEST_BACKENDS|"
    r"(?:https?|ftp|no|all)_proxy|(?:HTTPS?|FTP|NO|ALL)_PROXY"
)
_UID: Final = 1000
_ACCOUNT: Final = "somebody"


@dataclass(frozen=True)
class Pairing:
    """A system, an account and a place."""

    release: int
    root: bool
    odd: bool
    """Whether the path has a space, the umask is 077 and the locale is C."""

    @property
    def name(self) -> str:
        return f"{self.release}-{'root' if self.root else 'user'}{'-odd' if self.odd else ''}"

    @property
    def words(self) -> str:
        place = ", path with a space, umask 077, LC_ALL=C" if self.odd else ""
        return f"Debian {self.release}, as {'root' if self.root else 'a user'}{place}"

    @property
    def suite(self) -> str:
        return _SUITES[self.release]

    @property
    def home(self) -> str:
        return "/root" if self.root else str(Path("/home") / _ACCOUNT)

    @property
    def tree(self) -> str:
        return f"{self.home}/{'a checkout of romancy' if self.odd else 'romancy'}"


ALL: Final = tuple(
    Pairing(release, root, odd) for release in _SUITES for root in (True, False) for odd in (False, True)
)
QUICK: Final = (Pairing(12, root=True, odd=False), Pairing(13, root=False, odd=True))
"""On one of them a twelfth of all tests runs: by turns, a day each."""
BESIDE: Final = (Pairing(13, root=True, odd=False), Pairing(12, root=False, odd=True))
"""On the one beside it a few tests run: the other system, the same account and place."""


def require() -> None:
    """Raise `RootError` if this machine cannot make a fresh one."""
    if not sys.platform.startswith("linux") or not shutil.which("unshare"):
        raise RootError("needs Linux and the program unshare (util-linux)")
    if os.geteuid() != 0 and not shutil.which("newuidmap"):
        raise RootError("needs root, or namespaces of an account: newuidmap is not installed (Debian: package uidmap)")
    enter = (*(() if os.geteuid() == 0 else _USER_NAMESPACE), *_NAMESPACES, "--mount-proc", "true")
    tried = subprocess.run(enter, capture_output=True, text=True, check=False)
    if tried.returncode:
        who = "this machine" if os.geteuid() == 0 else "this machine, to an account that is not root,"
        raise RootError(f"needs namespaces, which {who} refuses: {tried.stderr.strip()}")


def run(pairing: Pairing, cache: Path, *, commands: Sequence[str] = COMMANDS, source: Path = ROOT) -> Outcome:
    """Run commands on a fresh machine, in a clone of the HEAD of `source`."""
    begun = time.monotonic()
    archive = archive_of(pairing.suite, cache)
    folder = ROOT / "build" / "fresh" / f"{pairing.name}-{os.getpid()}"
    _clear_leftovers(folder.parent)
    try:
        unpack(archive, folder)
        plan = _prepare(pairing, folder, cache, commands, source)
        print(f"test-fresh: {pairing.words}", flush=True)
        output = _output_of([*_NAMESPACES, sys.executable, "-m", "tools.machines.inside", json.dumps(asdict(plan))])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    marked = [line for line in output if line.startswith(MARK)]
    left = Left(**json.loads(marked[-1].removeprefix(MARK))) if marked else None
    return Outcome(pairing.words, tuple(commands), time.monotonic() - begun, left, output)


def _clear_leftovers(folder: Path) -> None:
    """Remove the machines of runs that were killed."""
    for machine in folder.glob("*-*"):
        if not Path("/proc", machine.name.rpartition("-")[2]).exists():
            shutil.rmtree(machine, ignore_errors=True)


def quick_plan(day: int) -> dict[Pairing, tuple[str, ...]]:
    """What continuous integration runs on two machines, for a commit of this day.

    In twenty-four days each of `QUICK` has all tests. In two days each system is tried with both accounts and places.
    """
    turns, place_of_day = divmod(day, len(QUICK))
    return {QUICK[place_of_day]: _TWELFTHS[turns % len(_TWELFTHS)], BESIDE[place_of_day]: IN_SHORT}


def _prepare(pairing: Pairing, folder: Path, cache: Path, commands: Sequence[str], source: Path) -> Plan:
    """Bring settings, account, clone and mount points into the root."""
    passed_on = {name: value for name, value in os.environ.items() if _PASSED_ON.fullmatch(name)}
    configure(folder, pairing.suite, passed_on)
    uid = 0 if pairing.root else _UID
    if not pairing.root:
        subprocess.run(["chroot", folder, "useradd", "--create-home", "--uid", str(uid), _ACCOUNT], check=True)
    _copy_head(source, folder / "source.git", uid)
    umask = 0o077 if pairing.odd else 0o022
    kept = cache / "machines" / pairing.name
    mounts = [_mount_point(folder, kept / "home", f"{pairing.home}/.cache", uid, 0o777 & ~umask)]
    if pairing.root:  # the suite makes this one, and lets the servers' account in
        mounts.append(_mount_point(folder, kept / "system", "/var/cache/romancy", uid, 0o755))
    own = {"HOME": pairing.home, "USER": "root" if pairing.root else _ACCOUNT, "PATH": _PATH, "TERM": "dumb"}
    locale = {"LC_ALL": "C"} if pairing.odd else {}
    return Plan(str(folder), uid, pairing.home, pairing.tree, umask, passed_on | own | locale, list(commands), mounts)


_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def _copy_head(source: Path, target: Path, uid: int) -> None:
    """Make a repository with the HEAD of `source` as its only branch, which the account may clone."""
    git = ["git", "-C", str(target)]
    head = f"file://{source}", "HEAD:refs/heads/main"
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(target)], check=True)
    subprocess.run([*git, "fetch", "--quiet", "--update-shallow", *head], check=True)
    for path in (target, *target.rglob("*")):
        os.chown(path, uid, uid)


def _mount_point(folder: Path, kept: Path, inside: str, uid: int, mode: int) -> tuple[str, str]:
    """Make the folder of the cache that the root sees as `inside`, and its mount point."""
    for path in (kept, folder / inside.lstrip("/")):
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(mode)
        os.chown(path, uid, uid)
    return str(kept), inside


def _output_of(command: Sequence[str]) -> list[str]:
    """Run a command, print its output as it comes, and return its lines."""
    lines: list[str] = []
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as running:
        assert running.stdout is not None
        try:
            for line in running.stdout:
                lines.append(line.rstrip("\n"))
                if not line.startswith(MARK):
                    print(line, end="", flush=True)
        except BaseException:
            running.kill()  # and with it everything in its namespaces
            raise
    return lines


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="make test-fresh", description="Run README's commands on fresh machines.")
    parser.add_argument("--quick", action="store_true", help="the two pairings of continuous integration")
    parser.add_argument("--clean", action="store_true", help="remove what the cache keeps for fresh machines; run none")
    parser.add_argument("--cache", type=Path, help="the folder of the cache; the suite's own by default")
    parser.add_argument("--source", type=Path, default=ROOT, help="the repository to clone, instead of this one")
    parser.add_argument("names", nargs="*", help=f"of {', '.join(each.name for each in ALL)}; all by default")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.names) - {each.name for each in ALL}:
        parser.error(f"no pairing {', '.join(sorted(unknown))}")
    plan: dict[Pairing, tuple[str, ...]] = {
        each: COMMANDS for each in ALL if not chosen.names or each.name in chosen.names
    }
    try:
        cache: Path = chosen.cache or cache_folder()
        if chosen.clean:
            return _clean(cache / "machines")
        require()
        if os.geteuid() != 0:
            _again_as_root_of_a_namespace([*arguments, "--cache", str(cache)])
        if chosen.quick:
            plan = quick_plan(day_of_head(chosen.source))
        outcomes = [run(pairing, cache, commands=plan[pairing], source=chosen.source) for pairing in plan]
    except (RootError, ServerUnavailableError) as error:
        print(f"test-fresh: {error}", file=sys.stderr)
        return 1
    if chosen.source == ROOT and not os.environ.get("CI"):
        _record(outcomes)
    return report(outcomes)


def _clean(kept: Path) -> int:
    """Remove a folder. A part of it belongs to accounts of a namespace if it was made without root."""
    if not kept.exists():
        return 0
    shutil.rmtree(kept, ignore_errors=True)
    if kept.exists() and os.geteuid() != 0 and shutil.which("newuidmap"):
        subprocess.run([*_USER_NAMESPACE, "rm", "-rf", str(kept)], check=True)
    print(f"{kept}: {'a part of it cannot be removed by this account' if kept.exists() else 'removed'}")
    return int(kept.exists())


def _again_as_root_of_a_namespace(arguments: Sequence[str]) -> None:
    require_debootstrap()
    program = [*_USER_NAMESPACE, sys.executable, "-m", "tools.machines.fresh", *arguments]
    os.execvp(program[0], program)  # noqa: S606 - it takes the place of this process


def _record(outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        counts = outcome.counts
        if outcome.left is not None and counts is not None and outcome.commands == COMMANDS:
            record(
                outcome.name,
                outcome.python,
                outcome.databases,
                "make demo, make test",
                passed=counts["passed"],
                failed=counts["failed"],
                skipped=counts["skipped"],
            )


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, end)  # so that the folder of a machine is removed
    sys.exit(main(sys.argv[1:]))
