"""Archives at URLs: a batch is there whole before its instances are removed, and is found and restored from there."""

from __future__ import annotations

import asyncio
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from romancy import Retention, Romancy, UsageError, WorkflowContext, workflow
from romancy.errors import HistoryCorruptError, StorageUnavailableError
from romancy.retaining import keeping
from romancy.retaining.archive import archived_as
from romancy.retaining.places import Remote, place_of
from tests.cli.in_process import runner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.machinery import ModuleSpec

pytestmark = pytest.mark.anyio

PLACE = "memory://bucket/archive"


@workflow
async def archived(ctx: WorkflowContext, word: str) -> str:
    return word


APP = Romancy("memory://", workflows=[archived])


class Refusing(MemoryFileSystem):
    """A place that takes nothing."""

    protocol = ("refusing",)

    def pipe_file(self, path: str, value: bytes) -> object:
        raise PermissionError("no entry for me:secret with secret")

    def glob(self, path: str) -> list[str]:
        raise PermissionError("no entry for me:secret with secret")


@pytest.fixture(autouse=True)
def places(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("_FIRST", "_SOON", "_MOST_OFTEN"):
        monkeypatch.setattr(keeping, name, 0.01)
    fsspec.register_implementation("refusing", Refusing, clobber=True)
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    yield
    MemoryFileSystem.store.clear()


async def removed(app: Romancy, *names: str) -> None:
    """Let instances end, and the worker of the app write them to the archive and remove them."""
    for name in names:
        await (await app.start(archived.options(instance_id=name), "heliotrope")).result(timeout=30)
        while await app.get_instance(name) is not None:  # noqa: ASYNC110 - it goes without any news
            await asyncio.sleep(0.01)


async def test_what_is_removed_is_in_the_place_before() -> None:
    async with Romancy("memory://", workflows=[archived], retention=Retention(completed=0, archive=PLACE)) as app:
        await removed(app, "a", "b")
    files = list(MemoryFileSystem.store)
    assert len(files) == 2
    assert all(name.startswith("/bucket/archive/") and name.endswith(".jsonl") for name in files)
    for name in ("a", "b"):
        (one,) = archived_as(place_of(PLACE), name)
        assert (one.instance_id, one.status, one.log[0].seq) == (name, "completed", 1)
    assert archived_as(place_of(f"{PLACE}/"), "c") == []


async def test_nothing_is_removed_that_the_place_does_not_take(caplog: pytest.LogCaptureFixture) -> None:
    said = Retention(completed=0, archive="refusing://me:secret@bucket/archive")
    async with Romancy("memory://", workflows=[archived], retention=said) as app:
        await (await app.start(archived.options(instance_id="a"), "x")).result(timeout=30)
        while "cannot be written" not in caplog.text:  # noqa: ASYNC110 - it is logged without any news
            await asyncio.sleep(0.01)
        assert await app.get_instance("a") is not None
    assert (
        "the archive refusing://bucket/archive cannot be written to: PermissionError: no entry for *** with ***"
        in caplog.text
    )
    assert "secret" not in caplog.text
    with pytest.raises(
        StorageUnavailableError, match="refusing://bucket cannot be read: PermissionError: no entry for"
    ):
        archived_as(place_of("refusing://me:secret@bucket"), "a")


def test_it_is_shown_and_brought_back_from_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    async def lets_it_go() -> None:
        async with Romancy("memory://", workflows=[archived], retention=Retention(completed=0, archive=PLACE)) as app:
            await removed(app, "a")

    asyncio.run(lets_it_go())
    romancy = runner(capsys)
    url = f"sqlite:///{tmp_path}/back.db"
    migrated = romancy("migrate", "--url", url)
    shown = romancy("archive", "show", "a", "--from", PLACE)
    nobody = romancy("archive", "show", "c", "--from", PLACE)
    back = romancy("archive", "restore", "a", "--from", PLACE, "--app", f"{__name__}:APP", "--url", url)
    there = romancy("show", "a", "--url", url)
    assert (migrated.code, shown.code, nobody.code, back.code, there.code) == (0, 0, 3, 0, 0), back.err
    assert "WorkflowCompleted" in shown.out
    assert nobody.err == f"romancy: the archive {PLACE} has no instance 'c'\n"
    assert "heliotrope" in there.out


async def test_a_damaged_file_is_named() -> None:
    async with Romancy("memory://", workflows=[archived], retention=Retention(completed=0, archive=PLACE)) as app:
        await removed(app, "a")
    (name,) = MemoryFileSystem.store
    file = MemoryFileSystem.store[name]
    content = file.getvalue().replace(b"completed", b"cancelled")
    MemoryFileSystem().pipe_file(name, content)
    with pytest.raises(HistoryCorruptError, match=rf"{PLACE}/.*\.jsonl, line 1 is damaged"):
        archived_as(place_of(PLACE), "a")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("nowhere://bucket", "nothing can be archived at nowhere://bucket: Protocol not known: nowhere"),
        (
            "file:///var/archive",
            "an archive on this machine is named by its path: /var/archive, not file:///var/archive",
        ),
        (Path("memory://bucket"), "give the URL of an archive as a text"),
        (5, "archive= takes the path of a folder or a URL, not 5"),
        ("", "archive= takes the path of a folder or a URL, not ''"),
    ],
)
def test_what_is_no_place_is_refused(given: Any, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        Retention(completed="1d", archive=given)
    assert str(caught.value).startswith(told)


def test_a_url_needs_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacks_it(name: str) -> ModuleSpec | None:
        return None if name == "fsspec" else util.find_spec(name)

    monkeypatch.setattr("romancy.retention.find_spec", lacks_it)
    with pytest.raises(UsageError, match=r"pip install 'romancy\[archive\]'"):
        Retention(completed="1d", archive="s3://bucket")


def test_no_lines_make_no_file() -> None:
    Remote(PLACE).write("w", [])
    assert not MemoryFileSystem.store
