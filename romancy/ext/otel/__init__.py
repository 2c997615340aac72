"""OpenTelemetry: traces and metrics of workflows, through the API alone.

It needs the extra: `pip install 'romancy[otel]'`. The SDK, its exporters and its providers are yours:
`Romancy(url, hooks=[OpenTelemetry()])` uses the global ones.
"""

from __future__ import annotations

try:
    from romancy.ext.otel._gauges import Gauges
    from romancy.ext.otel._hook import OpenTelemetry
    from romancy.ext.otel._logs import LogIds
    from romancy.ext.otel._names import ATTRIBUTES, METRICS, Attribute, Metric
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] != "opentelemetry":
        raise
    raise ModuleNotFoundError(
        f"romancy.ext.otel needs {error.name}; install the extra: pip install 'romancy[otel]'", name=error.name
    ) from None

__all__ = ["ATTRIBUTES", "METRICS", "Attribute", "Gauges", "LogIds", "Metric", "OpenTelemetry"]
