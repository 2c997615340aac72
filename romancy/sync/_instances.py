"""Instances from outside, for code without `await`.

Written by `python -m tools.make_sync`: do not change it here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

from romancy.sync._rates import SyncRated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Literal, Unpack

    from romancy._lists import ReadLag
    from romancy.core import LogEvent
    from romancy.instance import Counts, Instance, InstancePage
    from romancy.kept_logs import LogLine, LogPage
    from romancy.log import LogEntry
    from romancy.query import Filters, FiltersToAct, FilterValue, InstanceFilter
    from romancy.retry import Duration
    from romancy.stream import Stream, StreamItem


__all__ = ["SyncInstances"]

T = TypeVar("T")


class SyncInstances(SyncRated):
    """Reads and changes instances, wherever they run."""

    def get_instance(self, instance_id: str, *, waits: bool = False) -> Instance | None:
        """The instance as it is now, or None, with the headers of its start (`Instance.headers`).

        With `waits=True` the result includes what the instance waits for, with the next attempt and the last error
        (`Instance.waits`). That reads the log of its current run, and raises CodecError if the log was written with a
        codec that this app does not have.
        """
        result: Instance | None = self._call("get_instance", instance_id, waits=waits)
        return result

    def list_instances(
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
        result: InstancePage = self._call(
            "list_instances",
            chosen,
            oldest_first=oldest_first,
            limit=limit,
            page_token=page_token,
            with_results=with_results,
            with_headers=with_headers,
            **filters,
        )
        return result

    def find_instances(
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
        result: InstancePage = self._call(
            "find_instances",
            where,
            oldest_first=oldest_first,
            limit=limit,
            page_token=page_token,
            with_results=with_results,
            with_headers=with_headers,
            **filters,
        )
        return result

    def iter_instances(
        self,
        where: Mapping[str, FilterValue] | InstanceFilter | None = None,
        /,
        *,
        oldest_first: bool = False,
        with_results: bool = False,
        with_headers: bool = False,
        **filters: Unpack[Filters],
    ) -> Iterator[Instance]:
        """All instances that match, newest first, read page by page; else as `find_instances`.

        With `oldest_first=True`, those that are started meanwhile come too, so this need not end while others start.
        An instance that matches throughout comes exactly once. One that begins or ceases to match in the meantime comes
        once or not at all.
        """
        return self._each(
            "iter_instances",
            where,
            oldest_first=oldest_first,
            with_results=with_results,
            with_headers=with_headers,
            **filters,
        )

    def count(
        self, where: Mapping[str, FilterValue] | InstanceFilter | None = None, /, **filters: Unpack[Filters]
    ) -> Counts:
        """How many instances `find_instances` finds with the same filters on all its pages, as of one moment.

        The result is a number, with the numbers by status and by workflow. As in lists, `workflow_name` and
        `instance_id` match in part. The database counts, in one statement; it takes as long as reading all that match.
        """
        result: Counts = self._call("count", where, **filters)
        return result

    def read_lag(self) -> ReadLag | None:
        """How far the standby of `read_url=` is behind, from which lists, searches and counts are read. None: no such.

        While the standby is away (`ReadLag.away`), they are read from the primary.
        """
        result: ReadLag | None = self._call("read_lag")
        return result

    def history(self, instance_id: str) -> list[LogEvent]:
        """Every event of an instance's log, oldest first."""
        result: list[LogEvent] = self._call("history", instance_id)
        return result

    def entries_of(self, instance_id: str, *, after: str | None = None, follow: bool = False) -> Iterator[LogEntry]:
        """Every entry of an instance's log behind the cursor `after`; with `follow`, also future ones, until its end.

        Nothing is left out: keep the cursor of the last entry that you have processed, and continue after it, also
        after a crash. Raises InstanceNotFoundError, and UsageError if entries behind the cursor have been pruned.
        """
        return self._each("entries_of", instance_id, after=after, follow=follow)

    def logs_of(
        self, instance_id: str, *, after: str | None = None, follow: bool = False, level: str | int | None = None
    ) -> Iterator[LogLine]:
        """The log lines that `Romancy(keep_logs=…)` has kept of an instance, oldest first.

        They are those behind the cursor `after`; with `follow`, also future ones, until its end. Lines below `level`
        are left out. A line comes once. Raises InstanceNotFoundError.
        """
        return self._each("logs_of", instance_id, after=after, follow=follow, level=level)

    @overload
    def stream_of(
        self,
        instance_id: str,
        stream: Stream[T],
        *,
        after: str | None = None,
        follow: bool = True,
        settled: bool = False,
    ) -> Iterator[StreamItem[T]]: ...

    @overload
    def stream_of(
        self, instance_id: str, stream: str, *, after: str | None = None, follow: bool = True, settled: bool = False
    ) -> Iterator[StreamItem[Any]]: ...

    def stream_of(
        self,
        instance_id: str,
        stream: Stream[Any] | str,
        *,
        after: str | None = None,
        follow: bool = True,
        settled: bool = False,
    ) -> Iterator[StreamItem[Any]]:
        """What a stream of an instance holds behind the offset `after`; with `follow`, also what comes, until its end.

        Nothing is left out and nothing comes twice: keep the offset of the last item that you have processed, and
        continue behind it in any process. `kept(items)` is what counts of them. `settled=True` yields only data that is
        final, once the end of its attempt is in the log. Raises InstanceNotFoundError, StreamGoneError if the offset is
        of another stream or its items were removed, and QueryError if it is malformed.
        """
        return self._each("stream_of", instance_id, stream, after=after, follow=follow, settled=settled)

    def streams_of(self, instance_id: str) -> list[str]:
        """The names of the streams of an instance that were written to. Raises InstanceNotFoundError."""
        result: list[str] = self._call("streams_of", instance_id)
        return result

    def log_page(
        self, instance_id: str, *, after: str | None = None, level: str | int | None = None, limit: int = 200
    ) -> LogPage:
        """Up to `limit` of the lines behind the cursor `after`, as `logs_of` has them; at most 1,000.

        With a `level` a page may be short, and even empty, and others follow: the last page has no `next_cursor`.
        """
        result: LogPage = self._call("log_page", instance_id, after=after, level=level, limit=limit)
        return result

    def entries(
        self,
        where: Mapping[str, FilterValue] | InstanceFilter | None = None,
        /,
        *,
        after: Mapping[str, str] | None = None,
        **filters: Unpack[Filters],
    ) -> Iterator[LogEntry]:
        """The entries behind your cursors (`after`, by instance id) of the logs of all matching instances, in one pass.

        The entries of one instance come in order and without a gap. The instances come newest first, whatever happened
        when. An instance that has ended and was read to its end is not read again. Call again to see what is new.
        The filters are those of `find_instances`.
        """
        return self._each("entries", where, after=after, **filters)

    def report(
        self, instance_id: str, *, wait: Callable[[Any], object] | None = None, timeout: Duration | None = None
    ) -> Any:
        """The workflow's last `ctx.report`, as plain JSON values; None if there was none.

        With `wait`, the last report if the function is true for it, else the first later one. Raises TimeoutError if
        none comes within `timeout`, and InstanceEndedError if the instance ends without one.
        """
        return self._call("report", instance_id, wait=wait, timeout=timeout)

    def reports(self, instance_ids: Sequence[str]) -> dict[str, Any]:
        """The last `ctx.report` of each of up to 1,000 instances, by id, in a few statements for all of them.

        Those that have made none, or do not exist, are left out. Raises CodecError if one of them was written with a
        codec that this app does not have.
        """
        result: dict[str, Any] = self._call("reports", instance_ids)
        return result

    def explain(self, instance_id: str) -> list[str]:
        """Why an instance does not move, in sentences, the most important first. `romancy why` prints them.

        They say who holds the instance, what it waits for, when the next attempt is due and after which error, why it
        is stuck, and how it ended. The texts are for people and may change. Raises InstanceNotFoundError, and
        CodecError if the log was written with a codec that this app does not have.
        """
        result: list[str] = self._call("explain", instance_id)
        return result

    def cancel_many(
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
        result: list[str] = self._call(
            "cancel_many", where, reason=reason, everything=everything, dry_run=dry_run, **filters
        )
        return result

    def terminate_many(
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
        result: list[str] = self._call(
            "terminate_many", where, reason=reason, everything=everything, dry_run=dry_run, **filters
        )
        return result

    def retry_many(
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
        result: list[str] = self._call(
            "retry_many", where, unsure=unsure, everything=everything, dry_run=dry_run, **filters
        )
        return result

    def resume_many(
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
        result: list[str] = self._call("resume_many", where, everything=everything, dry_run=dry_run, **filters)
        return result

    def pause_many(
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
        result: list[str] = self._call(
            "pause_many",
            where,
            reason=reason,
            freeze_time=freeze_time,
            everything=everything,
            dry_run=dry_run,
            **filters,
        )
        return result

    def unpause_many(
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
        result: list[str] = self._call("unpause_many", where, everything=everything, dry_run=dry_run, **filters)
        return result

    def purge_many(
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
        result: list[str] = self._call(
            "purge_many", where, children=children, everything=everything, dry_run=dry_run, **filters
        )
        return result
