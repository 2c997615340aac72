"""The hook around stored payloads: compress, sign, encrypt. Nothing here looks inside a value.

A payload stands in the JSON body of an event, so what a codec makes of it is stored as a JSON object that names
the codec, `{"$codec":"zlib","data":"<base64>"}`; several codecs are named in the order they were applied,
`zlib+hmac-sha256:1`. A payload that no codec touched is stored as it is. The only payloads in need of care are
those that hold the text `"$codec"` themselves: they are stored as `{"$codec":"plain","value":…}`, so that no
payload, whatever it holds, is ever mistaken for what a codec made. Each payload says for itself how it was
written; codecs can be added, changed and taken away while older rows stay readable.

Replay compares what the code asks for with the log. It has to compare what `unwrap` gives back: an encrypted
payload is another one each time.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import zlib
from typing import TYPE_CHECKING, Final, NoReturn, Protocol, runtime_checkable

import msgspec

from romancy.errors import SerializationError, UsageError
from romancy.serialization._where import type_name

if TYPE_CHECKING:
    from collections.abc import Iterable

_MARK: Final = b'"$codec"'
_PLAIN: Final = "plain"
_NO_VALUE: Final = msgspec.Raw(b"")
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")


class PayloadContext(msgspec.Struct, frozen=True):
    """Where a payload stands. It is the same when it is written and when it is read."""

    instance_id: str
    kind: str
    """`input`, `arguments`, `result`, `error`, `event` …"""
    name: str
    """The name of the workflow, activity or event."""
    item_id: str = ""
    """The id within the instance, such as `charge:1`."""

    def __str__(self) -> str:
        return f"{self.kind} of {self.name!r} in instance {self.instance_id!r}"

    def as_bytes(self) -> bytes:
        """For a signature or an encryption to be bound to, so that no payload can be put in another's place."""
        return msgspec.json.encode((self.instance_id, self.kind, self.name, self.item_id))


@runtime_checkable
class PayloadCodec(Protocol):
    """Turns the bytes of payloads into other bytes, and back. It must be safe to call from several threads.

    An encryption fits in a few lines. `AESGCM` is that of the `cryptography` package; the id bears the key's
    name, so that a new key is a new codec and the old one goes on reading:

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
        """Stored with every payload; letters, digits and `. _ : -`, at most 64."""
        ...

    def encode(self, data: bytes, context: PayloadContext, /) -> bytes | None:
        """The bytes to store, or None to leave this payload as it is."""
        ...

    def decode(self, data: bytes, context: PayloadContext, /) -> bytes:
        """What `encode` was given. Raises anything if the data is damaged or not meant for this context."""
        ...


class _Envelope(msgspec.Struct):
    codec: str | None = msgspec.field(name="$codec", default=None)
    data: bytes | None = None
    value: msgspec.Raw = _NO_VALUE


class Codecs:
    """The codecs of one app: those that write, in order, and older ones that are still needed to read."""

    def __init__(self, *codecs: PayloadCodec, read_only: Iterable[PayloadCodec] = ()) -> None:
        self._writers = codecs
        self._readers: dict[str, PayloadCodec] = {}
        for codec in (*codecs, *read_only):
            if codec.id == _PLAIN or not _ID.fullmatch(codec.id):
                raise UsageError(f"codec id {codec.id!r}: use 1 to 64 letters, digits and . _ : -, and not 'plain'")
            if codec.id in self._readers:
                raise UsageError(f"two codecs have the id {codec.id!r}; a new key or format needs an id of its own")
            self._readers[codec.id] = codec

    def wrap(self, raw: bytes, context: PayloadContext) -> bytes:
        """The JSON to store for a payload. Raises SerializationError if a codec fails."""
        data, applied = raw, list[str]()
        for codec in self._writers:
            try:
                encoded = codec.encode(data, context)
            except Exception as error:  # noqa: BLE001 (a codec is the user's)
                _fail(context, codec.id, "write", error)
            if encoded is not None:
                data = encoded
                applied.append(codec.id)
        if applied:
            return msgspec.json.encode({"$codec": "+".join(applied), "data": data})
        return b'{"$codec":"plain","value":%b}' % raw if _MARK in raw else raw

    def unwrap(self, stored: bytes, context: PayloadContext) -> bytes:
        """The payload that was wrapped, byte for byte.

        Raises SerializationError for a codec that is not configured, and for data that its codec refuses.
        """
        if _MARK not in stored or not stored.startswith(b"{"):
            return stored
        try:
            envelope = msgspec.json.decode(stored, type=_Envelope)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise SerializationError(f"{context}: its codec envelope is damaged") from None
        if envelope.codec is None:
            return stored
        if envelope.codec == _PLAIN and envelope.value != _NO_VALUE:
            return bytes(envelope.value)
        data = envelope.data
        if data is None:
            raise SerializationError(f"{context}: its codec envelope is damaged")
        for codec_id in reversed(envelope.codec.split("+")):
            data = self._decode(codec_id, data, context)
        return data

    def _decode(self, codec_id: str, data: bytes, context: PayloadContext) -> bytes:
        codec = self._readers.get(codec_id)
        if codec is None:
            raise SerializationError(
                f"{context}: it was written with the codec {codec_id!r}, which this app does not have; "
                "add it to the codecs, as a read-only one if it is no longer to write"
            )
        try:
            return codec.decode(data, context)
        except Exception as error:  # noqa: BLE001 (a codec is the user's)
            _fail(context, codec_id, "read", error)


def _fail(context: PayloadContext, codec_id: str, doing: str, error: Exception) -> NoReturn:
    raise SerializationError(
        f"{context}: the codec {codec_id!r} could not {doing} it ({type_name(type(error))})"
    ) from error


class ZlibCodec:
    """Compresses payloads from a size on, and leaves those that would hardly shrink."""

    def __init__(self, threshold: int = 4096, *, level: int = 6, largest: int = 64 * 1024 * 1024) -> None:
        """`largest`: what a payload may grow to when it is read, so that no row can exhaust the memory."""
        self.id: Final = "zlib"
        self._threshold = threshold
        self._level = level
        self._largest = largest

    def encode(self, data: bytes, _context: PayloadContext, /) -> bytes | None:
        if len(data) < self._threshold:
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
    """Signs payloads with HMAC-SHA256, so that a changed row, or one moved to another place, is refused when read."""

    _SIZE: Final = 32

    def __init__(self, key: bytes, *, key_id: str = "1") -> None:
        """`key_id` goes into the codec's id: a new key is a new codec, and the old one goes on reading."""
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
