"""Mistakes at the command line: each is answered with advice, with its exit code, and with nothing on stdout."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Final

import pytest
from packaging.version import Version

from romancy.cli import cli
from tests.cli.in_process import migrate, runner

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.in_process import Answer

COMMANDS: Final = (
    "alerts", "archive", "ask", "batch", "cancel", "check", "conformance", "count", "debounce", "demo", "dev",
    "doctor", "drain", "export", "failures", "find", "fork", "history", "import", "limits", "lint", "list", "logs",
    "migrate", "outbox", "pause", "purge", "rebuild", "relay", "request", "resume", "retention", "retry", "rewind",
    "run", "schedules", "serve", "show", "signal", "start", "tail", "terminate", "top", "ui", "undelivered", "unpause",
    "watch", "why", "windows", "workers",
)  # fmt: skip

CLICK_CORRECTS: Final = Version(version("click")) >= Version("8.4")


@pytest.fixture
def romancy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Answer]:
    """Run a command in an empty folder with a database, `made.db`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ROMANCY_URL", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    migrate("sqlite:///made.db")
    return runner(capsys)


@pytest.mark.parametrize(
    ("typed", "code", "advice"),
    [
        ("list --status done --url sqlite:///made.db", 2, "is not one of 'pending'"),
        ("list", 2, "Give --url URL, set ROMANCY_URL, or give --app MODULE:APP"),
        ("migrate", 2, "ROMANCY_URL"),
        ("show --url sqlite:///made.db", 2, "Missing argument 'ID'"),
        ("list --url made", 5, "write e.g. sqlite:///orders.db"),
        ("list --url sqlite:/made.db", 5, "sqlite needs :// behind it"),
        ("list --url sqlite:made.db", 5, "sqlite needs :// behind it"),
        ("ui sqlite:/made.db", 5, "sqlite needs :// behind it"),
        ("ui postgres//bob:hunter2@h/d", 5, "postgres needs :// behind it"),
        ("list --url sqllite:///made.db", 5, "did you mean sqlite?"),
        ("list --url sqlite:///missing.db", 5, "`romancy migrate`"),
        ("migrate --url sqlite:////no/such/folder/x.db", 5, "create it, or correct the storage URL"),
        ("list --url sqlite:///made.db?colour=red", 5, "unknown option 'colour'; known are"),
        ("show nobody --url sqlite:///made.db", 3, "`romancy list` shows those"),
        ("cancel nobody --url sqlite:///made.db", 3, "`romancy list` shows those"),
        ("signal nobody go --url sqlite:///made.db", 3, "`romancy list` shows those"),
        ("cancel --url sqlite:///made.db", 2, "--status, --exact-id, --parent, --top-level, --error or a time"),
        ("list --exact-id= --url sqlite:///missing.db", 2, "--exact-id: is empty"),
        ("list --parent= --url sqlite:///missing.db", 2, "--parent: is empty"),
        ("count --parent a --top-level --url sqlite:///missing.db", 2, "give --parent or --top-level, not both"),
        ("count --where a..b=1 --url sqlite:///missing.db", 2, "--where: path 'a..b', position 2"),
        (
            "purge --where total>=true --url sqlite:///missing.db",
            2,
            "--where: filter 'total', gte(): True has no",
        ),
        ("cancel --header baggage=1 --url sqlite:///missing.db", 2, "--header: header 'baggage': headers of traces"),
        (f"list --id {'x' * 256} --url sqlite:///missing.db", 2, "--id: 256 bytes of UTF-8"),
        (f"retry --workflow {'x' * 256} --url sqlite:///missing.db", 2, "--workflow: 256 bytes of UTF-8"),
        ("retry --workflow= --status failed --url sqlite:///missing.db", 2, "for '--workflow': it is empty"),
        ("resume --id x --url sqlite:///missing.db", 2, "No such option"),
        ("list --started-after soon --url sqlite:///made.db", 2, "or an age, as in 2h"),
        ("list --started-before 99999999d --url sqlite:///made.db", 2, "or an age, as in 2h"),
        ("signal x go now --started-after 2h --url sqlite:///made.db", 2, "EVENT [JSON] and a filter, without an ID"),
        ("run --drain soon shop:app", 2, "for '--drain': 'soon' is no length of time; give a number and s, min"),
        ("run --drain 999999999999w shop:app", 2, "'999999999999w' is too long"),
        ("purge --older-than soon --url sqlite:///made.db", 2, "as in 30d"),
        ("purge x --older-than 1d --url sqlite:///made.db", 2, "--older-than goes with a filter"),
        ("purge --status running --url sqlite:///made.db", 2, "it is for those that are cancelled, completed, failed"),
        ("run shop.py", 2, "name a module as Python imports it"),
        ("run no_such_module", 2, "there is no module 'no_such_module'"),
        ("history x --after 1 --url sqlite:///made.db", 2, "use the cursor of an entry"),
        ("show x --depth -1 --url sqlite:///made.db", 2, "--depth"),
    ],
)
def test_a_mistake_is_told_with_what_to_do(typed: str, code: int, advice: str, romancy: Callable[..., Answer]) -> None:
    if typed.startswith("ui "):
        pytest.importorskip("starlette")  # of the extra `ui`
    answer = romancy(*typed.split())

    assert (code, "") == (answer.code, answer.out), answer.err
    assert advice in " ".join(answer.err.split())
    assert "Traceback" not in answer.err


@pytest.mark.parametrize(
    ("typed", "advice"),
    [
        ("list --url postgresql://me:hunter2@localhost:1/x", "is the server running and reachable?"),
        ("list --url mysql://me:hunter2@localhost:1/x", "is it running, and are host and port right?"),
    ],
)
def test_a_server_that_does_not_answer_is_named(typed: str, advice: str, romancy: Callable[..., Answer]) -> None:
    answer = romancy(*typed.split())

    assert (5, "") == (answer.code, answer.out), answer.err
    assert advice in " ".join(answer.err.split())
    assert "Traceback" not in answer.err
    assert "hunter2" not in answer.err


@pytest.mark.parametrize(
    ("typed", "problem", "advice"),
    [
        ("lsit", "No such command 'lsit'.", "Did you mean one of: 'limits', 'lint', 'list'?"),
        ("shwo x", "No such command 'shwo'.", "Did you mean 'show'?"),
        ("list --stauts failed", "--stauts", "Did you mean one of: '--results', '--status'?"),
    ],
)
def test_a_name_that_is_mistyped_is_corrected(
    typed: str, problem: str, advice: str, romancy: Callable[..., Answer]
) -> None:
    answer = romancy(*typed.split())

    assert (2, "") == (answer.code, answer.out), answer.err
    assert problem in answer.err
    if CLICK_CORRECTS:
        assert advice in answer.err


def test_a_database_without_tables_is_told_to_be_migrated(romancy: Callable[..., Answer], tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()

    answer = romancy("list", "--url", "sqlite:///empty.db")

    assert (5, "", True) == (answer.code, answer.out, "`romancy migrate`" in answer.err)


def test_every_command_has_help_that_fits_and_is_listed(romancy: Callable[..., Answer]) -> None:
    pages = {name: romancy(name, "--help") for name in COMMANDS}
    listed = romancy("--help")

    assert set(COMMANDS) == set(cli.commands)
    assert all(0 == page.code for page in pages.values())
    assert {} == {name: line for name, page in pages.items() for line in page.out.splitlines() if len(line) > 80}
    assert set(COMMANDS) - {"find"} <= {line.split()[0] for line in listed.out.splitlines() if line.strip()}
    assert all(len(line) <= 80 for line in listed.out.splitlines())
    assert "..." not in listed.out.partition("Commands:")[2]


@pytest.mark.parametrize(
    "url",
    [
        "postgres//bob:hunter2@h/d", "postgres:/bob:hunter2@h/d", "bob:hunter2@h/d", "postgresql://bob:hunter2@h/d",
        "bob:hun/ter:hunter2@h", "mysql:bob:hunter2@h",
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "command",
    [
        "ui {}", "run {}", "list {}", "list --app {}", "migrate {}", "migrate --url {}", "start {} w", "check {} x",
        "show {} --url sqlite:///made.db", "outbox {}", "serve {}", "cancel {} --url sqlite:///made.db",
    ],
)  # fmt: skip
def test_no_command_prints_the_password_of_a_misplaced_url(
    romancy: Callable[..., Answer], command: str, url: str
) -> None:
    if "://" in url and command in {"ui {}", "migrate --url {}"}:
        url = "postgresql://bob:hunter2@localhost:1/d?colour=red"
    answer = romancy(*command.format(url).split())

    assert answer.code
    assert "hunter2" not in answer.out + answer.err
