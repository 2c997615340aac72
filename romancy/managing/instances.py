"""Reads and searches instances, and acts on one or on all that a search finds.

Each action on one instance exists for many as well (`cancel_many`, …). `dry_run=True` only names the instances.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, Unpack, overload

from romancy._options import yes_or_no
from romancy.engine import PAUSABLE, RETRIED, history, read_with_start
from romancy.errors import CodecError, InstanceNotFoundError
from romancy.instance import Counts, Instance, InstancePage, changed_at
from romancy.log import LogCursor, follow_log, read_log
from romancy.managing.bulk import chosen_to_act, each, each_of, found_to_act_on, if_still, if_there
from romancy.managing.kept_lines import lines_of, page_of
from romancy.managing.lists import instances_of
from romancy.managing.rates import Rated
from romancy.managing.reasons import reasons_of
from romancy.managing.reports import AwaitedReport, report_of, reports_of
from romancy.managing.stream_tails import tail_of
from romancy.managing.streams import items_of, names_of
from romancy.managing.waits import instance_with_waits
from romancy.query import InstanceFilter
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.limits import check_text
from romancy.storage.query import MAX_LIMIT
from romancy.stream import declared_stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from romancy._lists import ReadLag
    from romancy.core import LogEvent
    from romancy.kept_logs import LogLine, LogPage
    from romancy.log import LogEntry
    from romancy.query import Filters, FiltersToAct, FilterValue
    from romancy.retry import Duration
    from romancy.storage.query import Query
    from romancy.stream import Stream, StreamItem

__all__ = ["Instances"]

T = TypeVar("T")

OPEN: Final = tuple(status for status in Status if status not in TERMINAL_STATUSES)


class Instances(Rated):
    """Reads and changes instances, wherever they run."""

    # ── asking ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def get_instance(self, instance_id: str, *, waits: bool = False) -> Instance | None:
        """The instance as it is now, or None, with the headers of its start (`Instance.headers`).

        With `waits=True` the result includes what the instance waits for, with the next attempt and the last error
        (`Instance.waits`). That reads the log of its current run, and raises CodecError if the log was written with a
        codec that this app does not have.
        """
        if waits:
            return await instance_with_waits(self._access.opened(), instance_id)
        found = await read_with_start(self._access.opened(), instance_id)
        return None if found is None else Instance.begun(found)

    async def list_instances(
        self,
        chosen: InstanceFilter | None = None,
        /,
        *,
        oldest_first: bool = False,
        limit: int = 50,
        page_token: str | None = None,
        with_results: bool = False,
        with_headers: bool = False,
        **filters: Unpack[Filters],
    ) -> InstancePage:
        """A page of instances, newest first. Names and ids match in part and without case, the status exactly.

        `filters` are `workflow_name`, `status`, `instance_id`, `started_after`, `started_before`, `ended_after`,
        `ended_before`, `parent`, `top_level`, `ids` and `headers`; an `InstanceFilter` holds the same as one value.

        `parent` is the whole id of a parent, and `ids` are up to 1,000 whole ids; no ids find nothing. With
        `top_level=True`, only instances without a parent are listed. With `oldest_first=True`, the order is ascending;
        a page token is for one order.

        "Without case" is about the letters A to Z. All other characters, `%` and `_` included, stand for themselves.

        They were started at `started_after` or later, and before `started_before`, by the clock of the database, and
        ended at `ended_after` or later, and before `ended_before`. An instance has ended when it is completed, failed
        or cancelled, and its `updated_at` is then the time of its end. All four need a time zone.

        With `with_results=True`, `Instance.result` of each completed instance is its result; all results of a page take
        one further statement. `Instance.error` is the error of a failed one, as always.
        """
        query = InstanceFilter.of(chosen, filters).query(limit=limit, page_token=page_token, oldest_first=oldest_first)
        return await self._page(query, results=with_results, headers=with_headers)

    async def find_instances(
        self,
        where: Mapping[str, FilterValue] | InstanceFilter,
        *,
        oldest_first: bool = False,
        limit: int = 50,
        page_token: str | None = None,
        with_results: bool = False,
        with_headers: bool = False,
        **filters: Unpack[Filters],
    ) -> InstancePage:
        """A page of the instances whose input matches all of `where`, newest first; else as `list_instances`.

        A path begins with the name of a parameter. It may be left out if it is that of the only parameter, or of the
        first one and all others have defaults. `headers` are compared by their names with the headers of the start.
        """
        query = InstanceFilter.of(where, filters).query(limit=limit, page_token=page_token, oldest_first=oldest_first)
        return await self._page(query, results=with_results, headers=with_headers)

    async def _page(self, query: Query, *, results: bool, headers: bool) -> InstancePage:
        store = self._access.lists().store
        page = await store.services.reading.find(query)
        found = await instances_of(store, page.rows, results=results, headers=headers)
        return InstancePage(found, page.next_token)

    async def iter_instances(
        self,
        where: Mapping[str, FilterValue] | InstanceFilter | None = None,
        /,
        *,
        oldest_first: bool = False,
        with_results: bool = False,
        with_headers: bool = False,
        **filters: Unpack[Filters],
    ) -> AsyncIterator[Instance]:
        """All instances that match, newest first, read page by page; else as `find_instances`.

        With `oldest_first=True`, those that are started meanwhile come too, so this need not end while others start.
        An instance that matches throughout comes exactly once. One that begins or ceases to match in the meantime comes
        once or not at all.
        """
        chosen, token = InstanceFilter.of(where, filters), None
        while True:
            query = chosen.query(limit=MAX_LIMIT, page_token=token, oldest_first=oldest_first)
            page = await self._page(query, results=with_results, headers=with_headers)
            for instance in page.instances:
                yield instance
            if page.next_page_token is None:
                return
            token = page.next_page_token

    async def count(
        self,
        where: Mapping[str, FilterValue] | InstanceFilter | None = None,
        /,
        **filters: Unpack[Filters],
    ) -> Counts:
        """How many instances `find_instances` finds with the same filters on all its pages, as of one moment.

        The result is a number, with the numbers by status and by workflow. As in lists, `workflow_name` and
        `instance_id` match in part. The database counts, in one statement; it takes as long as reading all that match.
        """
        query = InstanceFilter.of(where, filters).query()
        return Counts(await self._access.lists().store.services.reading.count(query))

    async def read_lag(self) -> ReadLag | None:
        """How far the standby of `read_url=` is behind, from which lists, searches and counts are read. None: no such.

        While the standby is away (`ReadLag.away`), they are read from the primary.
        """
        return await self._access.lists().lag()

    async def history(self, instance_id: str) -> list[LogEvent]:
        """Every event of an instance's log, oldest first."""
        return [event async for _, commit in history(self._access.opened(), instance_id) for event in commit]

    def entries_of(
        self, instance_id: str, *, after: str | None = None, follow: bool = False
    ) -> AsyncIterator[LogEntry]:
        """Every entry of an instance's log behind the cursor `after`; with `follow`, also future ones, until its end.

        Nothing is left out: keep the cursor of the last entry that you have processed, and continue after it, also
        after a crash. Raises InstanceNotFoundError, and UsageError if entries behind the cursor have been pruned.
        """
        position = None if after is None else LogCursor.parse(after)
        return (follow_log if follow else read_log)(self._access.opened(), instance_id, position)

    def logs_of(
        self, instance_id: str, *, after: str | None = None, follow: bool = False, level: str | int | None = None
    ) -> AsyncIterator[LogLine]:
        """The log lines that `Romancy(keep_logs=…)` has kept of an instance, oldest first.

        They are those behind the cursor `after`; with `follow`, also future ones, until its end. Lines below `level`
        are left out. A line comes once. Raises InstanceNotFoundError.
        """
        return lines_of(self._access.opened(), instance_id, after, follow=follow, level=level)

    @overload
    def stream_of(
        self,
        instance_id: str,
        stream: Stream[T],
        *,
        after: str | None = None,
        follow: bool = True,
        settled: bool = False,
    ) -> AsyncIterator[StreamItem[T]]: ...
    @overload
    def stream_of(
        self, instance_id: str, stream: str, *, after: str | None = None, follow: bool = True, settled: bool = False
    ) -> AsyncIterator[StreamItem[Any]]: ...
    def stream_of(
        self,
        instance_id: str,
        stream: Stream[Any] | str,
        *,
        after: str | None = None,
        follow: bool = True,
        settled: bool = False,
    ) -> AsyncIterator[StreamItem[Any]]:
        """What a stream of an instance holds behind the offset `after`; with `follow`, also what comes, until its end.

        Nothing is left out and nothing comes twice: keep the offset of the last item that you have processed, and
        continue behind it in any process. `kept(items)` is what counts of them. `settled=True` yields only data that is
        final, once the end of its attempt is in the log. Raises InstanceNotFoundError, StreamGoneError if the offset is
        of another stream or its items were removed, and QueryError if it is malformed.
        """
        tail = tail_of(self._access, instance_id) if follow else None
        return items_of(self._access.opened(), instance_id, declared_stream(stream), after, settled=settled, tail=tail)

    async def streams_of(self, instance_id: str) -> list[str]:
        """The names of the streams of an instance that were written to. Raises InstanceNotFoundError."""
        return await names_of(self._access.opened(), instance_id)

    async def log_page(
        self, instance_id: str, *, after: str | None = None, level: str | int | None = None, limit: int = 200
    ) -> LogPage:
        """Up to `limit` of the lines behind the cursor `after`, as `logs_of` has them; at most 1,000.

        With a `level` a page may be short, and even empty, and others follow: the last page has no `next_cursor`.
        """
        return await page_of(self._access.opened(), instance_id, after, level=level, limit=limit)

    async def entries(
        self,
        where: Mapping[str, FilterValue] | InstanceFilter | None = None,
        /,
        *,
        after: Mapping[str, str] | None = None,
        **filters: Unpack[Filters],
    ) -> AsyncIterator[LogEntry]:
        """The entries behind your cursors (`after`, by instance id) of the logs of all matching instances, in one pass.

        The entries of one instance come in order and without a gap. The instances come newest first, whatever happened
        when. An instance that has ended and was read to its end is not read again. Call again to see what is new.
        The filters are those of `find_instances`.
        """
        known, chosen = LogCursor.of_instances(after), InstanceFilter.of(where, filters)
        store, token = self._access.opened(), None
        while True:
            page = await store.services.reading.find(chosen.query(limit=MAX_LIMIT, page_token=token))
            for row in page.rows:
                position = known.get(row.instance_id)
                if position is not None and position.is_end_of(row):
                    continue
                try:
                    async for entry in read_log(store, row.instance_id, position):
                        yield entry
                except InstanceNotFoundError:
                    continue  # it was removed in the meantime
            token = page.next_token
            if token is None:
                return

    async def report(
        self, instance_id: str, *, wait: Callable[[Any], object] | None = None, timeout: Duration | None = None
    ) -> Any:
        """The workflow's last `ctx.report`, as plain JSON values; None if there was none.

        With `wait`, the last report if the function is true for it, else the first later one. Raises TimeoutError if
        none comes within `timeout`, and InstanceEndedError if the instance ends without one.
        """
        awaited = AwaitedReport.of(wait, timeout)
        return await report_of(self._access.opened(), instance_id, awaited)

    async def reports(self, instance_ids: Sequence[str]) -> dict[str, Any]:
        """The last `ctx.report` of each of up to 1,000 instances, by id, in a few statements for all of them.

        Those that have made none, or do not exist, are left out. Raises CodecError if one of them was written with a
        codec that this app does not have.
        """
        query = InstanceFilter.of(None, {"ids": instance_ids}).query(limit=MAX_LIMIT)
        store = self._access.opened()
        found = await reports_of(store, (await store.services.reading.find(query)).rows)
        for report in found.values():
            if isinstance(report, CodecError):
                raise report
        return found

    async def explain(self, instance_id: str) -> list[str]:
        """Why an instance does not move, in sentences, the most important first. `romancy why` prints them.

        They say who holds the instance, what it waits for, when the next attempt is due and after which error, why it
        is stuck, and how it ended. The texts are for people and may change. Raises InstanceNotFoundError, and
        CodecError if the log was written with a codec that this app does not have.
        """
        return await reasons_of(self._access.opened(), instance_id, self._access.worker, self._access.registry)

    # ── acting on many ──────────────────────────────────────────────────────────────────────────────────────────

    async def cancel_many(
        self,
        where: Mapping[str, FilterValue] | InstanceFilter | None = None,
        /,
        *,
        reason: str = "",
        everything: bool = False,
        dry_run: bool = False,
        **filters: Unpack[FiltersToAct],
    ) -> list[str]:
        """Ask every matching open instance to stop, and return the ids of those that were asked.

        `workflow_name` is the whole name here, other than in a list, and there is no `instance_id`, but `ids`. So it is
        in the other calls that act on many. With `status`, only open instances with that status are asked. A call
        without any condition raises UsageError, unless it says `everything=True`.
        """
        check_text(reason, "reason")
        chosen = chosen_to_act("cancel_many", where, filters, everything=everything)
        found = found_to_act_on(self._access.opened(), chosen.or_status(OPEN))
        return await each(found, lambda one: if_there(self.cancel(one, reason=reason)), dry_run=dry_run)

    async def terminate_many(
        self,
        where: Mapping[str, FilterValue] | InstanceFilter | None = None,
        /,
        *,
        reason: str = "",
        everything: bool = False,
        dry_run: bool = False,
        **filters: Unpack[FiltersToAct],
    ) -> list[str]:
        """End every matching open instance by force, and return the ids of those that were ended.

        `workflow_name` is the whole name here, other than in a list.
        """
        check_text(reason, "reason")
        chosen = chosen_to_act("terminate_many", where, filters, everything=everything)
        found = found_to_act_on(self._access.opened(), chosen.or_status(OPEN))
        return await each(found, lambda one: if_there(self.terminate(one, reason=reason)), dry_run=dry_run)

    async def retry_many(
        self,
        where: Mapping[str, FilterValue] | InstanceFilter | None = None,
        /,
        *,
        unsure: Literal["done", "undone"] | None = None,
        everything: bool = False,
        dry_run: bool = False,
        **filters: Unpack[FiltersToAct],
    ) -> list[str]:
        """Retry every matching failed instance that can be retried, and return the ids of those that are retried.

        With `status="cancelled"` it retries cancelled ones. `workflow_name` is the whole name here, other than in a
        list.
        """
        what = "retry_many retries instances that have failed or were cancelled"
        chosen = chosen_to_act("retry_many", where, filters, everything=everything).or_status("failed")
        found = found_to_act_on(self._access.opened(), chosen.among(RETRIED, what))

        def again(instance_id: str) -> Awaitable[bool]:
            return if_still(self.retry(instance_id, unsure=unsure))

        return await each(found, again, dry_run=dry_run)

    async def resume_many(
        self,
        where: Mapping[str, FilterValue] | InstanceFilter | None = None,
        /,
        *,
        everything: bool = False,
        dry_run: bool = False,
        **filters: Unpack[FiltersToAct],
    ) -> list[str]:
        """Let workers try every matching stuck instance again, and return the ids of those instances.

        `workflow_name` is the whole name here, other than in a list.
        """
        chosen = chosen_to_act("resume_many", where, filters, everything=everything)
        chosen = chosen.among({Status.STUCK}, "resume_many resumes stuck instances")
        found = found_to_act_on(self._access.opened(), chosen)
        return await each(found, lambda instance_id: if_still(self.resume(instance_id)), dry_run=dry_run)

    async def pause_many(
        self,
        where: Mapping[str, FilterValue] | InstanceFilter | None = None,
        /,
        *,
        reason: str = "",
        freeze_time: bool = False,
        everything: bool = False,
        dry_run: bool = False,
        **filters: Unpack[FiltersToAct],
    ) -> list[str]:
        """Pause every matching open instance, and return the ids of those that are paused, or will be: see `pause`.

        Those that are paused already or stuck are left alone. `workflow_name` is the whole name here, other than in a
        list.
        """
        check_text(reason, "reason")
        yes_or_no(freeze_time, "freeze_time")
        what = "pause_many pauses open instances that can go on"
        chosen = chosen_to_act("pause_many", where, filters, everything=everything)
        found = found_to_act_on(self._access.opened(), chosen.among(PAUSABLE, what))

        async def stop(instance_id: str) -> None:
            await self.pause(instance_id, reason=reason, freeze_time=freeze_time)

        return await each(found, lambda one: if_still(stop(one)), dry_run=dry_run)

    async def unpause_many(
        self,
        where: Mapping[str, FilterValue] | InstanceFilter | None = None,
        /,
        *,
        everything: bool = False,
        dry_run: bool = False,
        **filters: Unpack[FiltersToAct],
    ) -> list[str]:
        """Let every matching paused instance go on, and return the ids of those instances.

        An instance that was asked to pause and is not paused yet is not found: `unpause` it by its id.
        `workflow_name` is the whole name here, other than in a list.
        """
        chosen = chosen_to_act("unpause_many", where, filters, everything=everything)
        chosen = chosen.among({Status.PAUSED}, "unpause_many unpauses paused instances")
        found = found_to_act_on(self._access.opened(), chosen)
        return await each(found, lambda instance_id: if_still(self.unpause(instance_id)), dry_run=dry_run)

    async def purge_many(
        self,
        where: Mapping[str, FilterValue] | InstanceFilter | None = None,
        /,
        *,
        children: bool = False,
        everything: bool = False,
        dry_run: bool = False,
        **filters: Unpack[FiltersToAct],
    ) -> list[str]:
        """Remove every matching ended instance, and return the ids of those removed. An open status raises UsageError.

        An instance that changes after it was found, for example by a retry, is left alone. With `children=True`, the
        ended children of each are removed too, as by `purge`. The result does not name those that do not match.
        One transaction removes up to 500 of them; with `children=True`, each goes by itself. `workflow_name` is the
        whole name here, other than in a list.
        """
        what = "purge_many removes instances that have ended"
        further = "end them first, with cancel_many or terminate_many"
        chosen = chosen_to_act("purge_many", where, filters, everything=everything)
        chosen = chosen.among(TERMINAL_STATUSES, what, further)
        store = self._access.opened()
        asked_at = (await store.services.reading.census()).now
        seen = {one.instance_id: one async for one in found_to_act_on(store, chosen)}
        if dry_run:
            return list(seen)

        async def remove(instance_id: str) -> bool:
            if await self._purge_as_found(seen[instance_id], children=children):
                return True
            return children and await self.get_instance(instance_id) is None  # it went with its parent

        together = [] if children else [one for one in seen.values() if changed_at(one) <= asked_at]
        gone = await self._purge_all_as_found(together)
        # One by one, and once more, those that go alone and those that another call held at that moment.
        for _ in range(2):
            left = [instance_id for instance_id in seen if instance_id not in gone]
            gone.update(await each_of(left, remove))
        return [instance_id for instance_id in seen if instance_id in gone]
