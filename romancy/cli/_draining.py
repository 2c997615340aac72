"""`drain`: asks workers of any machine to drain, and shows how far they are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import click

from romancy.cli._database import database, operating, running
from romancy.cli._printing import as_json, json_option, line, say
from romancy.cli._workers import state_of
from romancy.managing.draining import ask_to_drain, progress_of, take_back

if TYPE_CHECKING:
    from romancy.managing.draining import Progress
    from romancy.storage.protocol import Store
    from romancy.storage.records import Census, Peer

__all__ = ["drain"]

_EACH: Final = 0.25
"""Seconds between two looks."""


@click.command()
@click.argument("worker", metavar="[WORKER]", required=False)
@click.option("--all", "everyone", is_flag=True, help="All workers that live now.")
@click.option("--no-wait", is_flag=True, help="Ask, and do not wait for their ends.")
@database
@json_option
@running
async def drain(
    worker: str | None, *, everyone: bool, no_wait: bool, url: str | None, app: str | None, json_lines: bool
) -> int:
    """Ask a worker of any machine to drain, and show how far it is.

    As after SIGTERM, it takes nothing more, lets activities end, and releases its instances to others. The command
    shows that until it has ended. Ctrl-C ends this command, and not the drain. Exit code 1 if one does not drain.
    """
    if everyone == (worker is not None):
        raise click.UsageError("name a WORKER, as `romancy workers` lists it, or --all")
    async with operating(url, app) as operator:
        store = operator.store
        census = await store.services.reading.census()
        asked = _chosen(census, worker)
        await ask_to_drain(store, asked)
        if no_wait:
            say(f"asked: {', '.join(sorted(peer.worker_id for peer in asked.values()))}")
            return 0
        try:
            return int(await _follow(store, asked, json_lines=json_lines))
        except asyncio.CancelledError:
            say("the drain goes on; `romancy workers` shows how far it is")
            raise


def _chosen(census: Census, worker: str | None) -> dict[str, Peer]:
    """The live workers that are meant, by token. Others of these are named."""
    meant = [peer for peer in census.workers if peer.works and worker in (None, peer.worker_id)]
    live = {peer.token: peer for peer in meant if state_of(peer, census.now) == "alive"}
    for peer in meant:
        if peer.token not in live:
            say(f"{peer.worker_id} is {state_of(peer, census.now)}: it cannot be asked, and others take over")
    if not meant and worker is not None:
        raise click.ClickException(f"no worker {worker!r} is registered; `romancy workers` lists those that are")
    if not live:
        raise click.ClickException("no worker is alive: there is nothing to drain")
    return live


async def _follow(store: Store, asked: dict[str, Peer], *, json_lines: bool) -> bool:
    """Show what becomes of these, until nothing more does. Whether one does not drain."""
    shown: dict[str, Progress] = {}
    while True:
        census = await store.services.reading.census()
        for token, peer in asked.items():
            if (last := shown.get(token)) is not None and last.over:
                continue
            progress = shown[token] = progress_of(peer, census)
            if progress != last:
                _print(peer, progress, json_lines=json_lines)
            if progress.over:
                await take_back(store, token)
        if all(one.over for one in shown.values()):
            return any(one.failed for one in shown.values())
        await asyncio.sleep(_EACH)


def _print(peer: Peer, progress: Progress, *, json_lines: bool) -> None:
    if not json_lines:
        line(f"{peer.worker_id}: {progress.words}")
        return
    as_json(
        {
            "worker_id": peer.worker_id,
            "attempts": progress.attempts,
            "instances": progress.instances,
            "over": progress.over,
            "failed": progress.failed,
            "text": progress.words,
        }
    )
