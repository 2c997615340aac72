"""An OTLP exporter in a few lines: each span is posted when it ends."""

from __future__ import annotations

from http.client import HTTPConnection
from typing import TYPE_CHECKING

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Sent
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan

__all__ = ["provider"]


class Exporter(SpanExporter):
    """Posts to a collector."""

    def __init__(self, address: str, service: str) -> None:
        self._address = address
        self._service = service

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        request = ExportTraceServiceRequest()
        resource = request.resource_spans.add()
        resource.resource.attributes.add(key="service.name").value.string_value = self._service
        scope = resource.scope_spans.add()
        for span in spans:
            sent, context = scope.spans.add(name=span.name), span.get_span_context()
            assert context is not None
            sent.trace_id, sent.span_id = context.trace_id.to_bytes(16, "big"), context.span_id.to_bytes(8, "big")
            sent.parent_span_id = b"" if span.parent is None else span.parent.span_id.to_bytes(8, "big")
            sent.kind = Sent.SpanKind.Value(f"SPAN_KIND_{span.kind.name}")
            sent.start_time_unix_nano, sent.end_time_unix_nano = span.start_time or 0, span.end_time or 0
            sent.status.code = Status.StatusCode.Value(f"STATUS_CODE_{span.status.status_code.name}")
            for link in span.links:
                sent.links.add(
                    trace_id=link.context.trace_id.to_bytes(16, "big")
                ).span_id = link.context.span_id.to_bytes(8, "big")
            for name, value in (span.attributes or {}).items():
                one = sent.attributes.add(key=name).value
                if isinstance(value, int):
                    one.int_value = value
                else:
                    one.string_value = str(value)
        connection = HTTPConnection(self._address, timeout=10)
        connection.request("POST", "/v1/traces", request.SerializeToString())
        assert connection.getresponse().status == 200
        connection.close()
        return SpanExportResult.SUCCESS


def provider(address: str, service: str) -> TracerProvider:
    """A provider that posts each span at once."""
    made = TracerProvider(resource=Resource({"service.name": service}))
    made.add_span_processor(SimpleSpanProcessor(Exporter(address, service)))
    return made
