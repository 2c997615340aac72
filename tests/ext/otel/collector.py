"""A collector: an HTTP server that decodes what OTLP exporters post, and the picture that the spans make together."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Sent

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["Collector", "Span", "collecting"]


@dataclass(frozen=True)
class Span:
    """A span as it came over the wire."""

    id: str
    trace: str
    parent: str | None
    name: str
    kind: str
    links: tuple[str, ...]
    start: int
    end: int
    failed: bool
    service: str
    attributes: dict[str, Any] = field(hash=False)


class Collector:
    """What was exported so far."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self._changed = threading.Condition()
        self.url = ""

    def take(self, body: bytes) -> None:
        """Decode one request."""
        request = ExportTraceServiceRequest.FromString(body)
        with self._changed:
            for resource in request.resource_spans:
                service = _attributes(resource.resource.attributes).get("service.name", "")
                self.spans += [_span(sent, service) for scope in resource.scope_spans for sent in scope.spans]
            self._changed.notify_all()

    def until(self, *names: str) -> None:
        """Wait until there are spans of these names."""
        with self._changed:
            assert self._changed.wait_for(lambda: {span.name for span in self.spans} >= set(names), 60), self.picture()

    @property
    def traces(self) -> set[str]:
        return {span.trace for span in self.spans}

    def picture(self) -> list[str]:
        """Return each span with its parent and what it is linked to, sorted by name."""
        names = {span.id: span.name for span in self.spans}
        return sorted(
            f"{span.service}: {span.name} {span.kind} < {names.get(span.parent or '', span.parent)}"
            + "".join(f" ~ {names.get(link, link)}" for link in span.links)
            for span in self.spans
        )

    def roots(self) -> list[str]:
        """Return the names of the spans that hang on nothing that is known here: neither a parent nor a link."""
        known = {span.id for span in self.spans}
        return [span.name for span in self.spans if not known & {span.parent or "", *span.links}]

    def doubled(self) -> list[object]:
        """Return what several spans stand for."""
        seen = Counter(
            (span.name, *(span.attributes.get(f"romancy.{what}") for what in ("instance.id", "activity.id", "attempt")),
             *(span.attributes.get(f"romancy.{what}") for what in ("run", "wait.id", "target.instance.id")))
            for span in self.spans
        )  # fmt: skip
        return [what for what, number in seen.items() if number > 1]


@contextmanager
def collecting() -> Generator[Collector]:
    """A collector on a free port."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.take(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base class
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.url = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _span(sent: Sent, service: str) -> Span:
    return Span(
        id=sent.span_id.hex(),
        trace=sent.trace_id.hex(),
        parent=sent.parent_span_id.hex() or None,
        name=sent.name,
        kind=Sent.SpanKind.Name(sent.kind).removeprefix("SPAN_KIND_").lower(),
        links=tuple(link.span_id.hex() for link in sent.links),
        start=sent.start_time_unix_nano,
        end=sent.end_time_unix_nano,
        failed=sent.status.code == sent.status.STATUS_CODE_ERROR,
        service=service,
        attributes=_attributes(sent.attributes),
    )


def _attributes(given: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in given}
