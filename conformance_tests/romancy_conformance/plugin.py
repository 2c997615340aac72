"""The plugin for adapter authors: `pytest --pyargs romancy_conformance --storage-url URL` reports on each promise.

pytest finds this module by its entry point wherever Romancy is installed. So it imports only pytest, and does nothing
unless it is asked to. It loads the fixtures of `romancy_conformance.stores`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote, urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

_PACKAGE = "romancy_conformance"
_FIXTURES = "romancy_conformance.stores"
_PROMISE = "romancy promise"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("romancy")
    group.addoption(
        "--storage-url",
        metavar="URL",
        help="run the storage tests on this store only, instead of on our own backends, and report promise by promise; "
        "{unique} in it becomes a word of each test's own, so that every test has an empty database",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long(days=1): takes long; the short tier of our own tree leaves it out")
    config.addinivalue_line("markers", "dealt(*names): the short tier of our own tree runs it on one of these")
    config.addinivalue_line("markers", "soak: long runs with large numbers where ROMANCY_SOAK is set, else small ones")
    asked = config.getoption("--storage-url") or any(_is_ours(argument) for argument in config.args)
    if asked and not config.pluginmanager.has_plugin(_FIXTURES):
        config.pluginmanager.import_plugin(_FIXTURES)


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Limit the time of tests where an adapter is judged. Our own tree has limits of its own."""
    config = session.config
    if not config.getoption("--storage-url"):
        return
    from romancy_conformance.limit import Watch  # noqa: PLC0415 - this module is imported wherever pytest runs

    reporter = cast("pytest.TerminalReporter", config.pluginmanager.getplugin("terminalreporter"))
    config.pluginmanager.register(Watch(config, lambda: pytest_terminal_summary(reporter, config)), "romancy limit")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Record the promise of each test of this suite, the first line of its file, and limit its time."""
    judges = bool(config.getoption("--storage-url"))
    for item in items:
        if _PACKAGE in item.path.parts and isinstance(item, pytest.Function):
            words = cast("Any", item.module).__doc__ or item.path.stem
            item.user_properties.append((_PROMISE, words.strip().splitlines()[0]))
            if judges:
                _limit(item)


def _limit(item: pytest.Function) -> None:
    from romancy_conformance.limit import within_limit  # noqa: PLC0415 - as above

    within_limit(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Leave out the tests of services that the judged store does not offer."""
    if not item.config.getoption("--storage-url"):
        yield
        return
    from romancy.storage.services import MissingServiceError  # noqa: PLC0415 - this module is imported wherever pytest runs

    try:
        yield
    except MissingServiceError as error:
        pytest.skip(f"capability: the store offers no service {error.service.value!r}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Report what failed without the password of the store: pytest prints the arguments of functions."""
    report = yield
    password = urlsplit(item.config.getoption("--storage-url") or "").password
    if password and not report.passed:
        secrets = [f":{password}@", f"'{password}'", f"'{unquote(password)}'"]
        report.longrepr = _without(secrets, report.longrepr)
        report.sections = _without(secrets, report.sections)
    return report


def _without(secrets: list[str], shown: Any) -> Any:
    """The same without these texts, in whatever pytest has put together to be printed."""
    if isinstance(shown, str):
        for secret in secrets:
            shown = shown.replace(secret, f"{secret[0]}***{secret[-1]}")
    elif isinstance(shown, list | tuple):
        parts = [_without(secrets, one) for one in cast("list[Any]", shown)]
        return parts if isinstance(shown, list) else tuple(parts)
    elif hasattr(shown, "toterminal"):
        for name, value in vars(cast("object", shown)).items():
            setattr(shown, name, _without(secrets, value))
    return shown


@dataclass
class _Promise:
    """The results of one promise's tests."""

    passed: int = 0
    broken: list[str] = field(default_factory=list[str])
    skipped: Counter[str] = field(default_factory=Counter[str])

    @property
    def verdict(self) -> str:
        if self.broken:
            return "BROKEN"
        return "kept" if self.passed else "not asked"

    @property
    def counts(self) -> str:
        counts = {"passed": self.passed, "failed": len(self.broken), "skipped": self.skipped.total()}
        return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print for each promise whether this store keeps it."""
    if not config.getoption("--storage-url"):
        return
    promises = _sorted_out(terminalreporter.stats.values())
    if promises:
        terminalreporter.section("romancy promises")
    for words, promise in sorted(promises.items()):
        terminalreporter.line(f"{promise.verdict:9} {words}", red=bool(promise.broken), bold=bool(promise.broken))
        terminalreporter.line(f"{'':9}   {promise.counts}")
        for name in promise.broken:
            terminalreporter.line(f"{'':9}   broken: {name}", red=True)
        for reason, count in promise.skipped.items():
            terminalreporter.line(f"{'':9}   skipped, {count}: {reason}")


def _sorted_out(stats: Iterable[list[Any]]) -> dict[str, _Promise]:
    promises: defaultdict[str, _Promise] = defaultdict(_Promise)
    for report in (one for found in stats for one in found if isinstance(one, pytest.TestReport)):
        words = next((str(value) for name, value in report.user_properties if name == _PROMISE), None)
        if words is None:
            continue
        promise = promises[words]
        if report.failed:
            promise.broken.append(
                report.nodeid.partition("::")[2] + ("" if report.when == "call" else f" ({report.when})")
            )
        elif report.skipped:
            promise.skipped[_reason(report)] += 1
        elif report.when == "call":
            promise.passed += 1
    return promises


def _reason(report: pytest.TestReport) -> str:
    words = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return words.removeprefix("Skipped: ").removeprefix("capability: ")


def _is_ours(argument: str) -> bool:
    module = argument.partition("::")[0]
    return module.split(".")[0] == _PACKAGE or _PACKAGE in PurePath(module).parts
