"""The command: start the servers by hand, install their programs, see and clear what is there."""

from __future__ import annotations

import argparse
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from .cache import cache_folder
from .databases import shared_server
from .kinds import Kind, ServerUnavailableError
from .processes import clear_folder
from .programs import find_program, install
from .run import clear_leftovers, runs

if TYPE_CHECKING:
    from pathlib import Path


def _up(kinds: list[Kind]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell starts background jobs with SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    try:
        with ThreadPoolExecutor(len(kinds)) as threads:
            servers = list(threads.map(shared_server, kinds))
        for kind, shared in zip(kinds, servers, strict=True):
            print(f"# {shared}\nexport {kind.url_variable}='{shared.access.url()}'", flush=True)
        signal.pause()
    except KeyboardInterrupt:
        print("# stopped", file=sys.stderr)


def _install(kinds: list[Kind], suite: str | None) -> None:
    for kind in kinds:
        program = install(kind, suite) if suite or kind.built else find_program(kind)
        print(f"{kind} {program.version}, {program.origin}: {program.server}")


def _status() -> None:
    for folder, alive in runs().items():
        print(f"{folder}: {'in use' if alive else 'left over'}")
    for folder in sorted((cache_folder() / "packages").glob("*/")):
        state = "unfinished" if folder.suffix == ".new" else "unpacked"
        print(f"{folder}: {state}")


def _cache() -> None:
    folder = cache_folder()
    if folder.exists():
        print(f"{folder}: {_size_of(folder) / 1e9:.1f} GB, shared by all checkouts; `make clean-cache` removes it")


def _size_of(folder: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))


def _clean(*, cache: bool) -> None:
    for folder in clear_leftovers():
        print(f"{folder}: removed")
    if cache and cache_folder().exists():
        if used := [str(folder) for folder, alive in runs().items() if alive]:
            raise ServerUnavailableError(f"the cache is in use by {', '.join(used)}: clean it when that run has ended")
        clear_folder(cache_folder())
        print(f"{cache_folder()}: removed")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m romancy_conformance.servers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (("up", "start servers and print their URLs until Ctrl-C"), ("install", "unpack programs")):
        command = commands.add_parser(name, help=text)
        command.add_argument(
            "kinds",
            nargs="*",
            metavar="kind",
            help=f"of {', '.join(Kind)}; by default all but {', '.join(kind for kind in Kind if kind.built)}",
        )
    commands.choices["install"].add_argument("--suite", help="a Debian suite, such as sid, instead of what is here")
    commands.add_parser("status", help="list runs and unpacked programs")
    commands.add_parser("cache", help="say where the cache is and how large")
    clean = commands.add_parser("clean", help="clear what killed runs have left")
    clean.add_argument("--cache", action="store_true", help="the cache as well")
    chosen = parser.parse_args(arguments)
    try:
        kinds = [Kind(kind) for kind in getattr(chosen, "kinds", [])] or [kind for kind in Kind if not kind.built]
    except ValueError as error:
        parser.error(str(error))
    try:
        match chosen.command:
            case "up":
                _up(kinds)
            case "install":
                _install(kinds, chosen.suite)
            case "status":
                _status()
            case "cache":
                _cache()
            case _:
                _clean(cache=chosen.cache)
    except ServerUnavailableError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
