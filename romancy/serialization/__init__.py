"""JSON in and out by declared type, exceptions as data, and the codec hook around the bytes.

Pure: no I/O and no clock. The package imports only msgspec and the errors. It uses pydantic and attrs only for values
and types of users who use them. Its one state is the classes that `register_type` was given.

Rules for every value that is written:

* The value comes back equal, as its declared type. Otherwise it is refused where it is produced, with its JSON path.
  Where nothing is declared (`Any`, `object`, no annotation) the plain JSON value comes back: text for a datetime, an
  object for a dataclass, a list for a tuple. Keys other than text are refused there, since 1 and "1" would be one,
  unless they are in a field of a dataclass that declares them.
* Types are strict: "5" is not an int, 1 is not a bool. An int may stand for a float if no digit is lost.
* The same value gives the same bytes in every process: dicts keep their order, sets are sorted.
* Integers are exact at any size up to 4300 digits. Floats are exact; NaN and Infinity are refused. Decimals are
  text, exact with their trailing zeros.
* A datetime keeps its UTC offset, not the name of its zone. A naive datetime stays naive: it is written without an
  offset, and no offset is guessed.
* Reading ignores unknown fields and fills in defaults, so a dataclass may grow.

Live and replayed code must see the same value: pass the workflow what was read back, not the object that was written.
"""

from __future__ import annotations

from romancy.serialization._cause_first import cause_first
from romancy.serialization._codec import (
    NO_CODECS,
    Codecs,
    HmacCodec,
    PayloadCodec,
    PayloadContext,
    ZlibCodec,
    is_sealed,
    refuse_sealed,
)
from romancy.serialization._culprit import MAX_DEPTH
from romancy.serialization._error_info import (
    ErrorInfo,
    describe_exception,
    exception_name,
    failed_call,
    record_of,
    with_frames,
)
from romancy.serialization._own import register_type
from romancy.serialization._plan import dumps, loads, plan_for
from romancy.serialization._reasons import WRITTEN_BEFORE
from romancy.serialization._rebuild import failures_in, rebuild_exception
from romancy.serialization._schema import misfit, schema_of
from romancy.serialization._signature import Parameter, Signature
from romancy.serialization._untyped import hear_hints
from romancy.serialization._value_at_fault import Where

__all__ = [
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
]
