"""The names other packages use."""

from __future__ import annotations

from romancy import serialization


def test_the_public_names() -> None:
    assert [
        "MAX_DEPTH",
        "NO_CODECS",
        "WRITTEN_BEFORE",
        "Codecs",
        "ErrorInfo",
        "HmacCodec",
        "Parameter",
        "PayloadCodec",
        "PayloadContext",
        "Signature",
        "Where",
        "ZlibCodec",
        "cause_first",
        "describe_exception",
        "dumps",
        "exception_name",
        "failed_call",
        "failures_in",
        "hear_hints",
        "is_sealed",
        "loads",
        "misfit",
        "plan_for",
        "rebuild_exception",
        "record_of",
        "refuse_sealed",
        "register_type",
        "schema_of",
        "with_frames",
    ] == serialization.__all__
    assert all(hasattr(serialization, name) for name in serialization.__all__)
    assert all(getattr(serialization, name).__doc__ for name in serialization.__all__)
