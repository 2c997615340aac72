"""Codecs for stored payloads: compress, sign, encrypt. They see bytes, not values.

A payload is one of three kinds: a commit of an instance's log, a message for its inbox, or its input. A payload that
codecs changed is sealed: it stands in a JSON object that names the codecs in the order of application,
`{"type":"Encoded","codec":"zlib+hmac-sha256:1","data":"<base64>"}`. A sealed commit is an array of this one "event". A
reader of logs without Romancy thus finds JSON of the usual form, and a version of Romancy without codecs finds an event
that is newer than itself. A sealed input begins with a `$`, which no JSON does: an input may hold anything, and must
never be mistaken for a sealed one.

A payload that no codec changed is stored as it is. Each body says how it was written, so codecs can be added, changed
and removed while older rows stay readable.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import zlib
from collections.abc import Iterable
from typing import Final, Literal, NoReturn, Protocol, TypeAlias, runtime_checkable

import msgspec

from romancy.errors import CodecError, StorageUnavailableError, UsageError
from romancy.serialization._value_at_fault import type_name

Kind: TypeAlias = Literal["commit", "message", "input"]

_TAKES: Final = "codecs= takes objects with `id`, `encode()` and `decode()`"
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
_SEALED: Final = b'{"type":"Encoded","codec":'
_AROUND: Final[dict[Kind, tuple[bytes, bytes]]] = {"commit": (b"[", b"]"), "message": (b"", b""), "input": (b"$", b"")}
_BEGINNINGS: Final[dict[Kind, bytes]] = {kind: before + _SEALED for kind, (before, _) in _AROUND.items()}


class PayloadContext(msgspec.Struct, frozen=True):
    """Where a payload is stored. It is the same for writing and for reading."""

    instance_id: str
    kind: Kind
    place: str = ""
    """Which commit, message or input of the instance it is. Unique among payloads of one kind."""

    def __str__(self) -> str:
        return f"{self.kind} {self.place} of instance {self.instance_id!r}"

    def as_bytes(self) -> bytes:
        """Bytes to bind a signature or an encryption to, so that a payload cannot be moved to another place."""
        return msgspec.json.encode((self.instance_id, self.kind, self.place))


@runtime_checkable
class PayloadCodec(Protocol):
    """Turns the bytes of payloads into other bytes, and back. It must be safe to call from several threads.

    The engine calls a codec during its work: a codec must be quick and hold the keys it needs. A codec that cannot work
    *now*, because its keys are elsewhere and cannot be reached, raises `StorageUnavailableError`. The engine then waits
    as it does for a database that is away. Any other exception means that this payload cannot be written or read.

    An encryption takes a few lines. `AESGCM` is that of the `cryptography` package. The id holds the key's name, so
    that a new key is a new codec and the old codec still reads:

        class Aes:
            id = "aes-gcm:2026"

            def __init__(self, key: bytes) -> None:
                self._aes = AESGCM(key)

            def encode(self, data: bytes, context: PayloadContext) -> bytes:
                nonce = os.urandom(12)
                return nonce + self._aes.encrypt(nonce, data, context.as_bytes())

            def decode(self, data: bytes, context: PayloadContext) -> bytes:
                return self._aes.decrypt(data[:12], data[12:], context.as_bytes())
    """

    @property
    def id(self) -> str:
        """The name stored with every payload: letters, digits and `. _ : -`, at most 64."""
        ...

    def encode(self, data: bytes, context: PayloadContext, /) -> bytes | None:
        """The bytes to store, or None to leave this payload as it is."""
        ...

    # A codec whose output anybody can read, such as a compression, may have the attribute `hides = False`. Beside any
    # other codec, of the input of an instance only the declared paths are stored in the clear, for searches.

    def decode(self, data: bytes, context: PayloadContext, /) -> bytes:
        """The bytes given to `encode`. Raises any exception if the data is damaged or not meant for this context."""
        ...


class _Envelope(msgspec.Struct, tag_field="type", tag="Encoded"):
    codec: str
    data: bytes


_envelopes: Final = msgspec.json.Decoder(_Envelope)


def is_sealed(stored: bytes, kind: Kind) -> bool:
    """Whether a codec wrote this."""
    return stored.startswith(_BEGINNINGS[kind])


def refuse_sealed(stored: bytes, kind: Kind, what: str) -> None:
    """Raise CodecError if a codec wrote this and no codec of this app could read it."""
    if is_sealed(stored, kind):
        codec = stored[len(_BEGINNINGS[kind]) :].split(b'"', 2)[1].decode(errors="replace")
        raise CodecError(
            f"{what} was written with the codec {codec!r}, which this app does not have or cannot read with"
        )


def _check_codec(codec: object) -> None:
    # Not `isinstance`, which from Python 3.12 on sees no attribute that `__getattr__` makes, as a wrapper's does.
    if isinstance(codec, type) or not all(hasattr(codec, name) for name in ("id", "encode", "decode")):
        raise UsageError(f"{_TAKES}, not {type_name(codec if isinstance(codec, type) else type(codec))}")


class Codecs:
    """The codecs of one app: those that write, in order, and older ones that only read."""

    def __init__(self, *codecs: PayloadCodec, read_only: Iterable[PayloadCodec] = ()) -> None:
        if not isinstance(read_only, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance] - untyped code calls this too
            raise UsageError(f"read_only= takes codecs in a list, not {type_name(type(read_only))}")
        self._writers = codecs
        self._readers: dict[str, PayloadCodec] = {}
        for codec in (*codecs, *read_only):
            _check_codec(codec)
            if not _ID.fullmatch(codec.id):
                raise UsageError(f"codec id {codec.id!r}: use 1 to 64 letters, digits and . _ : -")
            if codec.id in self._readers:
                raise UsageError(f"two codecs have the id {codec.id!r}; a new key or format needs an id of its own")
            self._readers[codec.id] = codec

    @classmethod
    def of(cls, codecs: Codecs | Iterable[PayloadCodec]) -> Codecs:
        """The codecs given to an app. Raises UsageError for other values."""
        if isinstance(codecs, cls):
            return codecs
        if not isinstance(codecs, Iterable):
            raise UsageError(f"{_TAKES}, in a list, not {type_name(type(codecs))}")
        return cls(*codecs)

    @property
    def ids(self) -> frozenset[str]:
        """The ids of all codecs that can read."""
        return frozenset(self._readers)

    def stored_size(self, raw: bytes) -> int:
        """How many bytes are stored for a value that stands alone.

        0 if a codec fails: the write of the value will fail too, and tell why.
        """
        try:
            return len(self.wrap(raw, PayloadContext("", "message")))
        except (CodecError, StorageUnavailableError):
            return 0

    @property
    def hides(self) -> bool:
        """Whether one of the codecs that write hides what it writes: each that does not say `hides = False`."""
        return any(getattr(codec, "hides", True) for codec in self._writers)

    def wrap(self, raw: bytes, context: PayloadContext) -> bytes:
        """The bytes to store for a payload. A payload that is already sealed stays as it is.

        Raises CodecError if a codec fails.
        """
        if is_sealed(raw, context.kind):
            return raw
        data, applied = raw, list[str]()
        for codec in self._writers:
            try:
                encoded = codec.encode(data, context)
            except StorageUnavailableError:
                raise
            except Exception as error:  # noqa: BLE001 (a codec is the user's)
                _fail(context, codec.id, "write", error)
            if encoded is not None:
                data = encoded
                applied.append(codec.id)
        if not applied:
            return raw
        before, behind = _AROUND[context.kind]
        return before + msgspec.json.encode(_Envelope("+".join(applied), data)) + behind

    def unwrap(self, stored: bytes, context: PayloadContext) -> bytes:
        """The payload that was wrapped, byte for byte.

        Raises CodecError for an unknown codec, and for data that its codec refuses.
        """
        if not is_sealed(stored, context.kind):
            return stored
        before, behind = _AROUND[context.kind]
        try:
            envelope = _envelopes.decode(stored[len(before) : len(stored) - len(behind)])
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise CodecError(f"{context}: what its codec wrote is damaged") from None
        data = envelope.data
        for codec_id in reversed(envelope.codec.split("+")):
            data = self._decode(codec_id, data, context)
        return data

    def _decode(self, codec_id: str, data: bytes, context: PayloadContext) -> bytes:
        codec = self._readers.get(codec_id)
        if codec is None:
            raise CodecError(
                f"{context}: it was written with the codec {codec_id!r}, which this app does not have; "
                "add it to the app's codecs, as a read-only one if it is no longer to write"
            )
        try:
            return codec.decode(data, context)
        except StorageUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 (a codec is the user's)
            _fail(context, codec_id, "read", error)


NO_CODECS: Final = Codecs()
"""Reads only payloads that no codec wrote."""


def _fail(context: PayloadContext, codec_id: str, doing: str, error: Exception) -> NoReturn:
    raise CodecError(f"{context}: the codec {codec_id!r} could not {doing} it ({type_name(type(error))})") from error


class ZlibCodec:
    """Compresses payloads of at least `threshold` bytes, if their stored form becomes shorter."""

    hides: Final = False

    def __init__(self, threshold: int = 4096, *, level: int = 6, largest: int = 64 * 1024 * 1024) -> None:
        """`largest` limits the size of a decompressed payload, so that no row can exhaust the memory.

        A larger payload is not compressed.
        """
        self.id: Final = "zlib"
        self._threshold = threshold
        self._level = level
        self._largest = largest

    def encode(self, data: bytes, _context: PayloadContext, /) -> bytes | None:
        if not self._threshold <= len(data) <= self._largest:
            return None
        compressed = zlib.compress(data, self._level)
        stored_as_text = len(compressed) * 4 // 3
        return compressed if stored_as_text < len(data) else None

    def decode(self, data: bytes, _context: PayloadContext, /) -> bytes:
        decompressor = zlib.decompressobj()
        plain = decompressor.decompress(data, self._largest)
        if not decompressor.eof:
            raise ValueError(f"cut short, or larger than {self._largest:,} bytes")
        return plain


class HmacCodec:
    """Signs payloads with HMAC-SHA256. A row that was changed, or moved to another place, is refused when read.

    A payload without a signature is still read: older rows may have none.
    """

    hides: Final = False
    _SIZE: Final = 32

    def __init__(self, key: bytes, *, key_id: str = "1") -> None:
        """`key_id` is part of the codec's id: a new key is a new codec, and the old codec still reads."""
        if len(key) < self._SIZE:
            raise UsageError(f"an HMAC key has at least {self._SIZE} bytes; make one with `secrets.token_bytes(32)`")
        self._key = key
        self.id: Final = f"hmac-sha256:{key_id}"

    def encode(self, data: bytes, context: PayloadContext, /) -> bytes:
        return self._signature(data, context) + data

    def decode(self, data: bytes, context: PayloadContext, /) -> bytes:
        signature, plain = data[: self._SIZE], data[self._SIZE :]
        if not hmac.compare_digest(signature, self._signature(plain, context)):
            raise ValueError("the signature does not fit: the row was changed, moved, or signed with another key")
        return plain

    def _signature(self, data: bytes, context: PayloadContext) -> bytes:
        place = context.as_bytes()
        return hmac.digest(self._key, len(place).to_bytes(8) + place + data, hashlib.sha256)
