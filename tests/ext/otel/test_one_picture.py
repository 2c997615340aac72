"""A trace over processes: HTTP, start, activities of workers that are killed, child, signal and outbox."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Final

import pytest
from opentelemetry import propagate, trace

from romancy_conformance.receiver import Answer, Receiver, Request
from tests.ext.otel.collector import collecting
from tests.ext.otel.exporting import provider
from tests.http.process import serving
from tools.tree import ROOT

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from tests.ext.otel.collector import Collector

# Several processes are killed for each database: `make soak` tries the others, whose headers the tests of hooks cover.
OTHERS: Final = ("postgres", "mysql") if "ROMANCY_SOAK" in os.environ else ()
pytestmark = [pytest.mark.soak, pytest.mark.anyio, pytest.mark.backends("sqlite", "mariadb", *OTHERS)]


@contextmanager
def working(environment: dict[str, str]) -> Generator[subprocess.Popen[bytes]]:
    """A worker, which is killed at the end of the block."""
    process = subprocess.Popen([sys.executable, "-m", "tests.ext.otel.program"], cwd=ROOT, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(path: Path) -> None:
    """Wait until another process has made the file."""
    until = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < until, path
        time.sleep(0.02)


def ordered(collector: Collector, environment: dict[str, str], folder: Path) -> None:
    """Order over HTTP, and have a worker killed in each activity that can hang."""
    mine = provider(collector.url, "shopper")
    everything = {**os.environ, **environment}
    with serving(environment["ROMANCY_URL"], "tests.ext.otel.program:http", **environment) as web:
        with mine.get_tracer("test").start_as_current_span("buy", kind=trace.SpanKind.CLIENT):
            carrier: dict[str, str] = {}
            propagate.inject(carrier)
            connection = HTTPConnection("127.0.0.1", web.port, timeout=60)
            connection.request("POST", "/workflows/order?instance_id=o-1", b'"tea"', carrier)
            assert connection.getresponse().status == 202
            connection.close()
        for name in ("charge", "pack"):
            with working(everything):
                wait_for(folder / name)
        with working(everything):
            collector.until("workflow order", "publish ordered")
            wait_for(folder / "received")
    mine.shutdown()


async def test_one_picture(storage_url: str, tmp_path: Path) -> None:
    with collecting() as collector:

        def answer(_: Request) -> Answer:
            (tmp_path / "received").touch()
            return Answer()

        async with Receiver(answer) as receiver:
            environment = {
                "ROMANCY_URL": storage_url,
                "OTEL_TEST_FOLDER": str(tmp_path),
                "OTEL_TEST_COLLECTOR": collector.url,
                "OTEL_TEST_RECEIVER": receiver.url.split("/")[2],
                "OTEL_TEST_HANGS": "1",
            }
            await asyncio.to_thread(ordered, collector, environment, tmp_path)
            (request,) = receiver.requests

    assert collector.picture() == [
        "shopper: buy client < None",
        "web: start order producer < buy",
        "worker: activity charge consumer < start order",
        "worker: activity pack consumer < start ship",
        "worker: activity thank consumer < start order",
        "worker: inside charge internal < activity charge",
        "worker: inside pack internal < activity pack",
        "worker: inside thank internal < activity thank",
        "worker: publish ordered producer < start order",
        "worker: receive shipped consumer < start order ~ signal shipped",
        "worker: signal shipped producer < start ship",
        "worker: start ship producer < start order",
        "worker: workflow order internal < start order",
        "worker: workflow ship internal < start ship",
    ]
    assert collector.roots() == ["buy"]
    assert len(collector.traces) == 1
    assert collector.doubled() == []
    (published,) = [span for span in collector.spans if span.name == "publish ordered"]
    assert request.headers["traceparent"] == request.headers["ce-traceparent"]
    assert request.headers["traceparent"].split("-")[1:3] == [published.trace, published.id]
