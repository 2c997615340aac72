"""A year of steady load, played in weeks: with retention and the usual upkeep, nothing grows for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from romancy import KeepLogs, Retention, Romancy, Status
from romancy.engine.outside import management
from romancy.outbox import Relay
from romancy.outbox.running import Relaying
from romancy.retaining.keeping import Retaining
from romancy.schedules import keeper
from romancy_conformance.behaviour.aging import Tables
from romancy_conformance.behaviour.operating.weeks import WORKFLOWS, a_week
from romancy_conformance.behaviour.recording import Recorder
from romancy_conformance.behaviour.waiting import until

_prune = pytest.importorskip("romancy_sqlite._prune")

if TYPE_CHECKING:
    from collections.abc import Sequence

# What a worker's own tasks do from time to time is done here at once.
# pyright: reportPrivateUsage=false

pytestmark = [pytest.mark.anyio, pytest.mark.backends("sqlite", "postgres", "mysql", "mariadb")]

WEEK: Final = 7 * 86_400_000_000
KEPT: Final = Retention(completed="30d", failed="90d", cancelled="90d")
FULL: Final = 13
"""After so many weeks the longest period has passed."""
SLACK: Final = 1.02
"""By this factor, and two rows, the rows of a table may differ: the run of a schedule ends a little sooner or later."""
GROWTH: Final = 1.3
"""By this factor the bytes may differ between two quarters: pages are taken and freed by turns."""


class Year:
    """A database, and what was counted of it after the upkeep at the end of each week."""

    def __init__(self, url: str, kept: Retention, *, relay_keeps: float | None = 86_400.0, **options: Any) -> None:
        self._url = url
        self._options: dict[str, Any] = {"retention": kept, **options}
        self._relay_keeps = relay_keeps
        self.rows: list[dict[str, int]] = []
        self.sizes: list[int] = []
        """Those at the ends of the quarters."""
        self.instances: list[dict[Status, int]] = []

    async def play(self, weeks: int) -> None:
        """The upkeep is that of the app of the next week: the rows are older then."""
        tables: Tables | None = None
        for week in range(weeks + 1):
            relayed = Recorder()
            relay, logs = Relay(relayed, keep=self._relay_keeps), KeepLogs("INFO", lines=8)
            async with Romancy(self._url, workflows=WORKFLOWS, relay=relay, keep_logs=logs, **self._options) as app:
                if tables is not None:
                    await keep_up(app)
                    await self._count(app, tables)
                if week < weeks:
                    await a_week(app, week, relayed)
            tables = tables or await Tables.of(self._url)
            await tables.age(WEEK)

    async def _count(self, app: Romancy, tables: Tables) -> None:
        self.rows.append(await tables.rows())
        self.instances.append({status: count for status, count in (await app.count()).by_status.items() if count})
        if len(self.rows) % FULL == 0:
            self.sizes.append(await tables.size())

    def growing(self, period: int) -> dict[str, tuple[int, int]]:
        """The tables that never had as few rows in the last such period as at a time in the second one.

        The fewest: what stands there for some weeks and then goes is no growth.
        """
        before, last = fewest(self.rows[period : 2 * period]), fewest(self.rows[-period:])
        return {table: (before[table], last[table]) for table in last if last[table] > before[table] * SLACK + 2}


@pytest.fixture(autouse=True)
def short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log of a schedule is cut off every week: it has more starts then than a run of its own has here."""
    monkeypatch.setattr(keeper, "_LONG", 4)


async def keep_up(app: Romancy) -> None:
    """What a worker does once a minute, or every ten minutes."""
    access = app._access
    assert access.worker is not None
    assert access.dispatcher is not None
    retaining = Retaining(access.opened(), access.worker, app._rules, app._purge_all_as_found)
    while await retaining.look():
        pass
    now = (await access.opened().services.reading.census()).now
    assert app.relay is not None
    await Relaying(app.relay, access.opened().services.outbox)._purge(now)
    access.dispatcher.sweep()
    await until(lambda: access.dispatcher is not None and access.dispatcher.idle)


def fewest(counts: Sequence[dict[str, int]]) -> dict[str, int]:
    return {table: min(one[table] for one in counts) for table in counts[0]}


@pytest.mark.long(days=4)
@pytest.mark.timeout(900)  # 40 seconds of a processor, of which a busy machine may have a tenth
async def test_after_a_year_of_steady_load_a_database_has_what_is_kept_and_no_more(storage_url: str) -> None:
    year = Year(storage_url, KEPT)
    await year.play(4 * FULL)

    assert year.growing(FULL) == {}
    assert [each for each in year.instances[FULL:] if each != year.instances[-1]] == []
    _, second, *_, last = year.sizes
    assert last < GROWTH * second, year.sizes


@pytest.mark.long
@pytest.mark.backends("sqlite")
async def test_what_is_left_behind_every_week_is_found(storage_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: a status, a table of an instance, kept messages, ids of messages and sent events are forgotten."""
    monkeypatch.setattr(_prune, "_REMOVAL", tuple(one for one in _prune._REMOVAL if one != "prune_journal"))
    monkeypatch.setattr(management, "REMEMBERED", 100 * WEEK)
    kept = Retention(completed="8d", cancelled="8d")
    year = Year(storage_url, kept, keep_undelivered=None, relay_keeps=None)
    await year.play(9)

    left = {"romancy_instances", "romancy_journal", "romancy_messages", "romancy_seen", "romancy_outbox"}
    assert left <= set(year.growing(3))
