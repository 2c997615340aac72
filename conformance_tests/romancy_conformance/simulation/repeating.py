"""The options that say what of a slice is played, and the command that plays exactly that again."""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING, Final

from romancy.testing.simulating.wire import WEATHER
from romancy_conformance.chaos.kept import Kept

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

__all__ = ["add_options", "command", "kept_of"]

_NONE: Final = "none"
_OF_THE_RUN: Final = frozenset(
    {"seed", "first", "slices", "minutes", "until_found", "cores", "keep", "story", "about", "shrink", "stop_at"}
)
"""Options that do not change a slice, or are written first."""


def numbers(text: str) -> tuple[int, ...]:
    """Return the numbers in a comma-separated list; `none` has none."""
    return () if text == _NONE else tuple(map(int, text.split(",")))


def weather(text: str) -> tuple[str, ...]:
    """Return the faults of the wire in a comma-separated list; `none` has none."""
    names = () if text == _NONE else tuple(text.split(","))
    if unknown := set(names).difference(WEATHER):
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}; known are {', '.join(WEATHER)}")
    return names


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that leave out a part of a slice."""
    group = parser.add_argument_group("a smaller case", "by numbers, as a run prints them that has found something")
    group.add_argument("--only-programs", type=numbers)
    group.add_argument("--only-instances", type=numbers)
    group.add_argument("--only-faults", type=numbers, help="of the workers and the database")
    group.add_argument("--only-workers", type=int, help="how many of them")
    group.add_argument("--only-weather", type=weather, help="of: " + ", ".join(WEATHER))
    group.add_argument("--variation", type=int, default=0, help="other chance on the wire, for the same programs")


def kept_of(options: argparse.Namespace) -> Kept:
    """Return what these options leave."""
    return Kept(
        programs=options.only_programs,
        instances=options.only_instances,
        faults=options.only_faults,
        workers=options.only_workers,
        weather=options.only_weather,
        variation=options.variation,
    )


def command(parser: argparse.ArgumentParser, options: argparse.Namespace, number: int, kept: Kept) -> str:
    """Return the arguments that play this part of a slice again."""
    only = {f"only_{name}": getattr(kept, name) for name in ("programs", "instances", "faults", "workers", "weather")}
    values = {**vars(options), **only, "variation": kept.variation}
    words = ["--seed", str(options.seed), "--first", str(number), "--slices", "1"]
    for name, value in values.items():
        if name not in _OF_THE_RUN and value != parser.get_default(name):
            words += _words(name, value)
    return shlex.join(words)


def _words(name: str, value: Collection[object] | float | str) -> Iterator[str]:
    yield "--" + name.replace("_", "-")
    if isinstance(value, frozenset):
        yield ",".join(sorted(map(str, value)))
    elif isinstance(value, tuple):
        yield ",".join(map(str, value)) or _NONE
    elif value is not True:
        yield str(value)
