"""Where a log ends, found by looks at single commits: near enough, by few looks, and also while it grows."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from romancy.dashboard.instance._window import near_the_end
from romancy.status import Status
from romancy.storage.records import History, InstanceRow, LogRow

if TYPE_CHECKING:
    from romancy.storage.protocol import Store

pytestmark = pytest.mark.anyio

NEAR = 100


class Log:
    """The log of one instance as a store reads it: some numbers of commits may be missing."""

    def __init__(self, seqs: list[int], known: int, *, grows: int = 0) -> None:
        self.seqs = seqs
        self.row = InstanceRow(
            instance_id="i", life=1, workflow_name="w", status=Status.RUNNING, code="c", created_at=1, updated_at=1,
            input=b"{}", last_seq=known,
        )  # fmt: skip
        self.looks = 0
        self._grows = grows

    async def read(self, _: str, /, *, after: int, limit: int) -> History:
        self.looks += 1
        self.seqs += [self.seqs[-1] + one for one in range(1, self._grows + 1)]
        seqs = [one for one in self.seqs if one > after][:limit]
        return History(instance=self.row, rows=[LogRow(seq=one, writer="", body=b"", at=1) for one in seqs])


async def end_of(log: Log) -> int:
    store: Store = log  # type: ignore[assignment] # pyright: ignore[reportAssignmentType] - it is read alone
    return await near_the_end(store, log.row)


@pytest.mark.parametrize("length", [1, 2, 100, 101, 102, 500, 501, 1_500, 12_345, 100_000])
async def test_it_is_a_commit_near_the_end(length: int) -> None:
    log = Log(list(range(1, length + 1)), known=1)

    found = await end_of(log)

    assert 0 <= length - found <= NEAR + 1
    assert log.looks <= 3 * 11


async def test_the_row_of_an_instance_that_rests_needs_one_look() -> None:
    log = Log(list(range(1, 5_001)), known=5_000)

    assert (5_000, 1) == (await end_of(log), log.looks)


async def test_logs_with_gaps_have_an_end_too() -> None:
    chance = random.Random(7)
    for _ in range(200):
        length = chance.randrange(1, 3_000)
        seqs = sorted(chance.sample(range(2, 6_001), length - 1)) if length > 1 else []
        log = Log([1, *seqs], known=1)

        found = await end_of(log)

        assert found in log.seqs
        assert log.seqs[-1] - found <= NEAR + 1


async def test_a_log_that_grows_meanwhile_has_a_last_commit_that_was_found() -> None:
    log = Log(list(range(1, 1_001)), known=1, grows=40)

    found = await end_of(log)

    assert 1_000 - NEAR <= found <= log.seqs[-1]
    assert log.looks <= 3 * 11
