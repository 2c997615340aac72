"""The libraries that the benchmark measures, with their databases and environments.

`ready` makes an environment if there is none: a virtual environment with exactly the pinned packages, hashes checked,
for Temporal a server built from its Go modules, and for Restate the server of its npm package. All of it is below
`build/bench`. Redis is the machine's, or unpacked from Debian packages like the databases.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from benchmarks.databases import DATABASES, REDIS
from benchmarks.process import TREE
from benchmarks.redis_server import find_redis
from romancy_conformance.servers import ServerUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["AGENTS", "BUILD", "CONTESTANTS", "Contestant", "MissingError", "interpreter"]

BUILD = TREE / "build" / "bench"
_DRIVERS = TREE / "benchmarks" / "drivers"
_GO_PATIENCE = 600
"""Seconds for building Temporal's server."""


class MissingError(Exception):
    """A contestant cannot be installed on this machine."""


class Contestant(Struct, frozen=True):
    """A library, or the floor."""

    name: str
    title: str
    databases: tuple[str, ...]
    module: str
    scale: int = 1
    """The number of its workflows as a multiple of the slowest library's, so that each measurement takes seconds."""
    pinned: bool = True
    core: bool = True
    least: tuple[int, int] = (3, 11)
    """The oldest Python that its packages support."""
    server: str = ""
    """Whose server it needs."""

    @property
    def python(self) -> Path:
        return BUILD / "environments" / self.name / "bin" / "python" if self.pinned else Path(sys.executable)

    def command(self) -> Sequence[str | Path]:
        """Return the command of its driver, without the URL."""
        return [self.python, "-m", self.module]

    def ready(self) -> None:
        """Make its environment, unless there is one with the same pins."""
        if set(self.databases) <= set(REDIS):
            try:
                find_redis()
            except ServerUnavailableError as error:
                raise MissingError(f"{self.title} is left out: there is no Redis here: {error}") from None
        if not self.pinned:
            return
        pins = _DRIVERS / "pins" / f"{self.name}.txt"
        folder = BUILD / "environments" / self.name
        made_of = folder / "made-of.txt"
        if not (made_of.exists() and made_of.read_bytes() == pins.read_bytes()):
            print(f"installing {self.title} into {folder.relative_to(TREE)}", file=sys.stderr)
            shutil.rmtree(folder, ignore_errors=True)
            _run([interpreter(self.least), "-m", "venv", folder])
            _run(
                [folder / "bin" / "pip", "install", "-q", "--disable-pip-version-check", "--require-hashes", "-r", pins]
            )
            shutil.copyfile(pins, made_of)
        if self.server:
            _SERVERS[self.server]()


def interpreter(least: tuple[int, int]) -> Path:
    """Return this Python, or one on this machine that is as new as `least`."""
    if sys.version_info >= least:
        return Path(sys.executable)
    named = [shutil.which(f"python{least[0]}.{minor}") for minor in range(least[1], 20)]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    asked = f"import sys; sys.exit(sys.version_info < {least})"
    found = [Path(one) for one in named if one] + sorted(pyenv.glob("*/bin/python3"))
    for one in found:
        if not subprocess.run([one, "-c", asked], capture_output=True, check=False).returncode:
            return one
    raise MissingError(f"left out: it needs Python {least[0]}.{least[1]}, and there is none on this machine")


def _restate_server() -> None:
    """Install the server from its npm package, once."""
    source, folder = _DRIVERS / "restate_server", BUILD / "restate_server"
    locked, made_of = source / "package-lock.json", folder / "made-of.json"
    if made_of.exists() and made_of.read_bytes() == locked.read_bytes():
        return
    if shutil.which("npm") is None:
        raise MissingError("Restate is left out: there is no npm here to install its server with")
    print(f"installing the server of Restate into {folder.relative_to(TREE)}", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)
    _run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder=folder)
    shutil.copyfile(locked, made_of)


def _temporal_server() -> None:
    """Build the server from its own modules, once."""
    source, built = _DRIVERS / "temporal_server", BUILD / "temporal_server"
    if built.exists() and built.stat().st_mtime > (source / "go.mod").stat().st_mtime:
        return
    if shutil.which("go") is None:
        raise MissingError("Temporal is left out: there is no Go here to build its server with")
    print("building Temporal's server, which takes minutes", file=sys.stderr)
    built.parent.mkdir(parents=True, exist_ok=True)
    _run(["nice", "-n", "10", "go", "build", "-o", built, "."], folder=source, patience=_GO_PATIENCE)


def _run(command: Sequence[str | Path], *, folder: Path = TREE, patience: float = 600) -> None:
    try:
        done = subprocess.run(command, cwd=folder, timeout=patience, capture_output=True, text=True, check=False)
    except subprocess.TimeoutExpired:
        raise MissingError(f"left out: {Path(command[0]).name} took more than {patience:.0f} s") from None
    if done.returncode:
        raise MissingError(f"left out: {Path(command[0]).name} ended with {done.returncode}: {done.stderr[-500:]}")


_SERVERS = {"temporal": _temporal_server, "restate": _restate_server}
_TWO = ("sqlite", "postgres")
_ALL = (
    Contestant("floor", "the floor", DATABASES, "benchmarks.drivers.floor", pinned=False),
    Contestant("romancy", "Romancy", DATABASES, "benchmarks.drivers.ours", scale=8, pinned=False),
    Contestant("dbos", "DBOS Transact", _TWO, "benchmarks.drivers.dbos_driver"),
    Contestant("edda", "Edda", _TWO, "benchmarks.drivers.edda_driver"),
    Contestant("absurd", "Absurd", ("postgres",), "benchmarks.drivers.absurd_driver", scale=2),
    Contestant(
        "temporal",
        "Temporal (dev server)",
        ("sqlite",),
        "benchmarks.drivers.temporal_driver",
        core=False,
        server="temporal",
    ),
    Contestant(
        "procrastinate", "procrastinate", ("postgres",), "benchmarks.drivers.procrastinate_driver", 2, core=False
    ),
    Contestant("unhinged", "Unhinged", ("sqlite",), "benchmarks.drivers.unhinged_driver", scale=8, core=False),
    Contestant("duroxide", "Duroxide", _TWO, "benchmarks.drivers.duroxide_driver", core=False),
    Contestant("sayiir", "Sayiir", ("postgres",), "benchmarks.drivers.sayiir_driver", core=False),
    Contestant("kairo", "Kairo", ("sqlite",), "benchmarks.drivers.kairo_driver", core=False, least=(3, 12)),
    Contestant(
        "restate", "Restate (own store)", ("sqlite",), "benchmarks.drivers.restate_driver", core=False, server="restate"
    ),
    Contestant("pgqueuer", "pgqueuer", ("postgres",), "benchmarks.queues.pgqueuer_queue", core=False),
    Contestant("huey", "huey", ("sqlite", "postgres", "redis"), "benchmarks.queues.huey_queue", core=False),
    Contestant("celery", "Celery", REDIS, "benchmarks.queues.celery_queue", core=False),
)
CONTESTANTS = {one.name: one for one in _ALL}
_WITH_AGENTS = (
    Contestant("agents-romancy", "Romancy", DATABASES, "benchmarks.agents.romancy_agent", pinned=False),
    Contestant("agents-dbos", "DBOS Transact", _TWO, "benchmarks.agents.dbos_agent"),
    Contestant("agents-absurd", "Absurd", ("postgres",), "benchmarks.agents.absurd_agent"),
    Contestant("agents-unhinged", "Unhinged", ("sqlite",), "benchmarks.agents.unhinged_agent"),
    Contestant(
        "agents-temporal", "Temporal (dev server)", ("sqlite",), "benchmarks.agents.temporal_agent", server="temporal"
    ),
)
AGENTS = {one.name: one for one in _WITH_AGENTS}
"""The libraries with an adapter for pydantic-ai."""
