"""Assigns the tests to tiers: `make test` tries every promise once, `make test-long` on the other databases.

This pytest plugin is loaded by the `conftest.py` of the tree. A test is in exactly one tier:

- A test marked `long` or `soak`, or in a folder of `LONG_FOLDERS`, is in the long tier.
- The contract is in the short tier on memory, on SQLite, and by turns on one of the servers: PostgreSQL, MySQL and
  MariaDB. It is in the long tier on one of the two others, by turns: a commit of another day has it on the third one.
  The rule for other tests applies to its tests marked `dealt`.
- Any other test that runs on several databases is in the short tier on one of them. On a commit of every fourth day
  it is in the long tier on one of another adapter, by turns: in eight days of commits each adapter has it. MySQL and
  MariaDB share an adapter and its turns. A digest of the test's name chooses the database of the short tier, so a test
  always has the same one. The mark `dealt("postgres", …)` names the databases to choose from.
- The store in memory is SQLite's, over a database in memory. An eighth of the tests that run on SQLite has it in the
  long tier, by turns: in eight days of commits each has. The contract has it in the short tier.
- What is long in itself is in the long tier on one database, by turns: a commit of the next day has it on the next one.
  In four days of commits each has it.
- What stands before the engine (`FRONTS`) reaches a database through the calls that the contract and the behaviour hold
  to their promises. So each of its tests is on one database, in the short tier, or by turns in the long one.
- A test marked `long(days=4)` is in the long tier on the commits of every fourth day.
- What these rules leave out is in a tier of its own (`make test-siblings`).
- A test that runs on no database is in the short tier.
- The tests of `ENGINE_FOLDERS` take minutes: they are on engines that are built, or put together from several servers.
  They have a tier of their own (`make test-engines`), whatever the rules above say.

A history depends on the engine and not on the database. So a test of the long tier whose twin is in the short tier does
not replay its histories, because the replay takes half of its time. It has the mark `replayed_elsewhere`.

`--part 1/2` keeps one half of what would run. A digest of the test's name chooses, so both halves are the whole.

Without `--tier`, pytest runs all tests that the command line names. Every run writes a note for `tools.second_look`.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from subprocess import CalledProcessError
from typing import TYPE_CHECKING, Any, Final, cast

import pytest

from tools.second_look import ALL, CUT_SHORT, ENGINES, LONG, SHORT, SIBLINGS, TIERS
from tools.tree import day_of_head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

STORES: Final = ("sqlite", "postgres", "mysql", "mariadb")
"""The databases that take turns."""
_SERVERS: Final = ("postgres", "mysql", "mariadb")
_OF_ONE_ADAPTER: Final = ("mysql", "mariadb")

_SUITE: Final = "conformance_tests/romancy_conformance/"
CONTRACT: Final = f"{_SUITE}contract/"
LONG_FOLDERS: Final = (
    *(_SUITE + name for name in ("contract/fire/", "behaviour/faults/", "behaviour/crashes/")),
    "tests/servers/",  # its own tests cover the starting of servers
)
ENGINE_FOLDERS: Final = ("tests/engines/",)
FRONTS: Final = ("tests/dashboard/", "tests/http/", "tests/sync/", "tests/ext/otel/")
ABOUT_DATABASES: Final = ("tests/http/test_databases.py", "tests/http/test_ids.py")
"""Files of fronts that ask whether each database keeps what is long or strange."""
_DAYS_OF_MEMORY: Final = 8
_DAYS_PER_ADAPTER: Final = 4
_OTHERS: Final = 2


@dataclass(frozen=True)
class Case:
    """The properties of a collected test that decide its tier."""

    nodeid: str
    backend: str | None = None
    marked: bool = False
    """Whether it is marked `long` or `soak`."""
    days: int = 1
    """On one of so many days it is in the long tier."""
    dealt: bool = False
    """Whether it is marked `dealt`."""
    among: tuple[str, ...] = STORES

    @property
    def long(self) -> bool:
        return self.marked or self.nodeid.startswith(LONG_FOLDERS)

    @property
    def engine(self) -> bool:
        """Whether it is on an engine that only `make test-engines` has."""
        return self.nodeid.startswith(ENGINE_FOLDERS)

    @property
    def front(self) -> bool:
        """Whether it is about what stands before the engine."""
        return self.nodeid.startswith(FRONTS) and not self.nodeid.startswith(ABOUT_DATABASES)

    @property
    def everywhere(self) -> bool:
        """Whether neither short nor long tier leaves it out on any database."""
        return self.backend is None or (self.nodeid.startswith(CONTRACT) and not self.dealt)

    @property
    def on_a_server(self) -> bool:
        """Whether it is in the short tier on one of the servers."""
        return self.everywhere and self.backend in _SERVERS

    @property
    def name(self) -> str:
        """Its name on every database, without the database's name in the brackets."""
        test, _, words = self.nodeid.partition("[")
        kept = words.removesuffix("]").split("-")
        if self.backend in kept:
            kept.remove(self.backend)
        return f"{test}[{'-'.join(kept)}]"


@dataclass(frozen=True)
class Part:
    """One of equal parts of a run."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Part:
        """Read `1/2`. Raises `ValueError` for what is no part."""
        number, of = map(int, text.split("/"))
        if not 1 <= number <= of:
            raise ValueError(f"no part of a whole: {text}")
        return cls(number, of)

    def has(self, nodeid: str) -> bool:
        digest = hashlib.sha1(nodeid.encode(), usedforsecurity=False).digest()
        return int.from_bytes(digest) % self.of == self.number - 1


@dataclass(frozen=True)
class Tiers:
    """The tier of each collected test."""

    cases: tuple[Case, ...]
    short: frozenset[str]
    long: frozenset[str]
    siblings: frozenset[str]
    engines: frozenset[str]

    def of(self, tier: str) -> frozenset[str]:
        """The tests of a tier."""
        return {SHORT: self.short, LONG: self.long, SIBLINGS: self.siblings, ENGINES: self.engines}[tier]


DEALT: Final = pytest.StashKey[Tiers]()
"""The tiers of a run, before one of them is chosen."""


def deal(cases: Iterable[Case], day: int) -> Tiers:
    """Assign the tests, for a commit of this day."""
    cases = tuple(cases)
    short, siblings = set[str](), set[str]()
    dealt: defaultdict[str, list[Case]] = defaultdict(list)
    on_servers: defaultdict[str, list[Case]] = defaultdict(list)
    long_ones: defaultdict[str, list[Case]] = defaultdict(list)
    for case in cases:
        if case.engine:
            continue
        if case.long:
            long_ones[case.name].append(case)
        elif case.on_a_server:
            on_servers[case.name].append(case)
        elif case.everywhere:
            short.add(case.nodeid)
        else:
            dealt[case.name].append(case)
    for name, servers in on_servers.items():
        turn = _turn(name, servers)
        short.add(turn.nodeid)
        siblings.update(_server_of_another_day(name, servers, turn, day))
    for name, stores in dealt.items():
        turn = _turn(name, stores)
        short.add(turn.nodeid)
        if turn.front:
            siblings.update(case.nodeid for case in stores if case is not turn)
        else:
            siblings.update(_sibling(name, stores, turn))
            siblings.update(_in_memory(name, stores, day))
            siblings.update(_adapter_of_another_day(name, stores, turn, day))
    for name, stores in long_ones.items():
        siblings.update(_of_other_days(name, stores, day))
    engines = {case.nodeid for case in cases if case.engine}
    long = {case.nodeid for case in cases} - short - siblings - engines
    return Tiers(cases, frozenset(short), frozenset(long), frozenset(siblings), frozenset(engines))


def _turn(name: str, cases: list[Case]) -> Case:
    """Return the one of these that is in the short tier; they are one test on several databases.

    The adapters have equal shares: MySQL and MariaDB have one between them.
    """
    candidates = [case for case in cases if case.backend in case.among] or cases
    pair = [case for case in candidates if case.backend in _OF_ONE_ADAPTER]
    adapters = [*([case] for case in candidates if case not in pair), *([pair] if pair else [])]
    digest = hashlib.sha1(name.encode(), usedforsecurity=False).digest()
    number, turn = divmod(int.from_bytes(digest), len(adapters))
    return adapters[turn][number % len(adapters[turn])]


def _sibling(name: str, cases: list[Case], turn: Case) -> list[str]:
    """Return the one of MySQL and MariaDB that the long tier leaves out. A test of their adapter alone keeps both."""
    pair = [case for case in cases if case.backend in _OF_ONE_ADAPTER]
    if len(pair) < len(_OF_ONE_ADAPTER) or len(pair) == len(cases):
        return []
    left = [case for case in pair if case is not turn]
    return [left[_number(name) % len(left)].nodeid]


def _server_of_another_day(name: str, servers: list[Case], turn: Case, day: int) -> list[str]:
    """Return the one of the two other servers that the long tier leaves out today."""
    others = [case for case in servers if case is not turn]
    if len(others) < _OTHERS:
        return []
    return [others[(_number(name) + day) % len(others)].nodeid]


def _adapter_of_another_day(name: str, cases: list[Case], turn: Case, day: int) -> list[str]:
    """Return the cases on those of the two other adapters that the long tier leaves out today."""
    own = _adapter(turn)
    others = sorted({adapter for case in cases if (adapter := _adapter(case)) not in (own, "memory")})
    if len(others) < _OTHERS:
        return []
    number = (_number(name) + day) % (_DAYS_PER_ADAPTER * len(others))
    today = others[number] if number < len(others) else None
    return [case.nodeid for case in cases if _adapter(case) in others and _adapter(case) != today]


def _adapter(case: Case) -> str:
    return "mysql" if case.backend in _OF_ONE_ADAPTER else str(case.backend)


def _in_memory(name: str, cases: list[Case], day: int) -> list[str]:
    """Return the case on memory on the days on which the long tier leaves it to SQLite."""
    on = {case.backend: case for case in cases}
    if "memory" not in on or "sqlite" not in on or (_number(name) + day) % _DAYS_OF_MEMORY == 0:
        return []
    return [on["memory"].nodeid]


def _of_other_days(name: str, cases: list[Case], day: int) -> list[str]:
    """Return those of a long test that have their turn on another day."""
    of_databases = [case for case in cases if case.backend in STORES]
    in_turn = cases if cases[0].front or not of_databases else of_databases
    number, away = divmod(_number(name) + day, cases[0].days)
    if away:
        return [case.nodeid for case in cases]
    turn = in_turn[number % len(in_turn)]
    left = [case.nodeid for case in in_turn if case is not turn]
    return left if cases[0].front else [*left, *_in_memory(name, cases, day)]


def _number(name: str) -> int:
    return hashlib.sha1(name.encode(), usedforsecurity=False).digest()[-1]


# --- hooks --------------------------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("romancy")
    group.addoption(  # pytest 8.2 needs the default where it reads this file late
        "--part", type=Part.parse, default=None, metavar="K/N", help="only this part of the tests, such as 1/2"
    )
    group.addoption(
        "--tier",
        choices=TIERS,
        default=ALL,
        help="short: every promise once; long: on the other databases; siblings: where both leave it out; "
        "engines: on engines that are built or put together; all: all of them, which is what a run does without this "
        "option",
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import no file for the short tier that is all in the long one: every test process imports what it collects."""
    tier = str(config.getoption("--tier"))
    if tier not in (SHORT, LONG) or not collection_path.is_relative_to(config.rootpath):
        return None
    path = collection_path.relative_to(config.rootpath).as_posix()
    away = ENGINE_FOLDERS if tier == LONG else (*LONG_FOLDERS, *ENGINE_FOLDERS)
    return True if f"{path}/".startswith(away) else None


@pytest.hookimpl(tryfirst=True)  # before -k and -m, which narrow a tier and do not change it
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    tiers = config.stash[DEALT] = deal(map(case_of, items), _day(config.rootpath))
    tier = str(config.getoption("--tier"))
    if tier != ALL:
        _keep(config, items, tiers.of(tier).__contains__)
    part = cast("Part | None", config.getoption("--part"))
    if part is not None:
        _keep(config, items, part.has)
    if tier == LONG:
        for item in items:
            if not case_of(item).long:
                item.add_marker(pytest.mark.replayed_elsewhere)


def _day(root: Path) -> int:
    """Return the day of the last commit. Outside a checkout, as in an unpacked archive, every day is the first."""
    try:
        return day_of_head(root)
    except (OSError, CalledProcessError):
        return 0


def _keep(config: pytest.Config, items: list[pytest.Item], chosen: Callable[[str], bool]) -> None:
    """Deselect the others."""
    config.hook.pytest_deselected(items=[item for item in items if not chosen(item.nodeid)])
    items[:] = [item for item in items if chosen(item.nodeid)]


def pytest_sessionstart(session: pytest.Session) -> None:
    _note(session.config, CUT_SHORT, [])


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    # pytest 8.2 has no public name for the reporter's class.
    reporter = cast("pytest.TerminalReporter | None", session.config.pluginmanager.get_plugin("terminalreporter"))
    if reporter is not None:
        reports = [*reporter.stats.get("failed", []), *reporter.stats.get("error", [])]
        _note(session.config, int(exitstatus), sorted({report.nodeid for report in reports}))


def _note(config: pytest.Config, ended: int, failed: list[str]) -> None:
    """Leave a note of the run for `tools.second_look`. The long tier continues the short one."""
    if not config.pluginmanager.has_plugin("cacheprovider") or hasattr(config, "workerinput"):
        return
    tier = str(config.getoption("--tier"))
    for other in TIERS if tier != LONG else ():
        config.cache.set(f"romancy/{other}", None)
    config.cache.set(f"romancy/{tier}", {"ended": ended, "failed": failed})


def case_of(item: pytest.Item) -> Case:
    """Return what decides the tier of a test."""
    call: Any = getattr(item, "callspec", None)  # set on a parametrised test
    backend = None if call is None else cast("str | None", call.params.get("backend"))
    long = item.get_closest_marker("long")
    marked = long is not None or item.get_closest_marker("soak") is not None
    days = 1 if long is None else int(long.kwargs.get("days", 1))
    dealt = item.get_closest_marker("dealt")
    among = cast("tuple[str, ...]", dealt.args if dealt is not None else ()) or STORES
    return Case(item.nodeid, backend, marked=marked, days=days, dealt=dealt is not None, among=among)
