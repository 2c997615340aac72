"""What a codec made is read back by that codec, whatever the payload holds and whichever codecs came later."""

from __future__ import annotations

import base64
import json
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from romancy.errors import PayloadTooLargeError, SerializationError, UsageError
from romancy.serialization import Codecs, HmacCodec, PayloadCodec, PayloadContext, Where, ZlibCodec, check_size

HERE = PayloadContext("order-1", "result", "charge", "charge:1")
KEY = bytes(range(32))


class Reversing:
    """The smallest codec there is."""

    id = "reversed"

    def encode(self, data: bytes, _context: PayloadContext, /) -> bytes:
        return data[::-1]

    def decode(self, data: bytes, _context: PayloadContext, /) -> bytes:
        return data[::-1]


class Broken(Reversing):
    id = "broken"

    def encode(self, data: bytes, _context: PayloadContext, /) -> bytes:
        raise RuntimeError(f"cannot encode {data!r}")


CHAINS: list[tuple[PayloadCodec, ...]] = [
    (),
    (ZlibCodec(threshold=0),),
    (HmacCodec(KEY),),
    (ZlibCodec(threshold=0), HmacCodec(KEY)),
    (Reversing(), ZlibCodec(threshold=10)),
]
documents = st.recursive(
    st.none() | st.integers() | st.text() | st.sampled_from(["$codec", '"$codec"', "zlib", "plain"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["$codec", "data", "value", "a"]), inner, max_size=3)
    ),
)


@given(documents.map(msgspec.json.encode), st.sampled_from(CHAINS))
def test_any_payload_comes_back_byte_for_byte(raw: bytes, chain: tuple[PayloadCodec, ...]) -> None:
    codecs = Codecs(*chain)

    stored = codecs.wrap(raw, HERE)

    assert raw == codecs.unwrap(stored, HERE)
    json.loads(stored)


@given(documents.map(msgspec.json.encode), st.sampled_from(CHAINS), st.sampled_from(CHAINS))
def test_codecs_may_change_while_rows_stay(
    raw: bytes, before: tuple[PayloadCodec, ...], after: tuple[PayloadCodec, ...]
) -> None:
    stored = Codecs(*before).wrap(raw, HERE)
    written_by = {codec.id for codec in after}

    later = Codecs(*after, read_only=[codec for codec in before if codec.id not in written_by])

    assert raw == later.unwrap(stored, HERE)


def test_the_stored_forms() -> None:
    assert b'{"a":1}' == Codecs().wrap(b'{"a":1}', HERE)
    assert b'{"$codec":"reversed","data":"fTE6ImEie30="}'[:22] == Codecs(Reversing()).wrap(b'{"a":1}', HERE)[:22]
    assert {"$codec": "reversed", "data": base64.b64encode(b"]1[").decode()} == json.loads(
        Codecs(Reversing()).wrap(b"[1]", HERE)
    )
    assert b'{"$codec":"plain","value":{"$codec":"zlib"}}' == Codecs().wrap(b'{"$codec":"zlib"}', HERE)
    long = b'"' + b"x" * 10_000 + b'"'
    assert (
        "zlib+hmac-sha256:2026"
        == json.loads(Codecs(ZlibCodec(), HmacCodec(KEY, key_id="2026")).wrap(long, HERE))["$codec"]
    )


def test_an_unknown_codec_is_named() -> None:
    stored = Codecs(HmacCodec(KEY, key_id="old")).wrap(b"1", HERE)

    expected = (
        "result of 'charge' in instance 'order-1': it was written with the codec 'hmac-sha256:old', "
        "which this app does not have"
    )
    with pytest.raises(SerializationError, match=re.escape(expected)):
        Codecs(ZlibCodec()).unwrap(stored, HERE)


@pytest.mark.parametrize(
    "stored",
    [
        b'{"$codec":"zlib"}',
        b'{"$codec":"plain"}',
        b'{"$codec":5,"data":"YQ=="}',
        b'{"$codec":"zlib","data":"not base64"}',
        b'{"$codec":"zlib","data":"YQ=="}',
        b'{"$codec":"zlib","data":"YQ=="',
        b'{"$codec":"\xff"}',
    ],
)
def test_a_damaged_envelope_is_refused(stored: bytes) -> None:
    with pytest.raises(SerializationError, match="result of 'charge' in instance 'order-1'"):
        Codecs(ZlibCodec()).unwrap(stored, HERE)


def test_a_codec_that_fails_is_named_without_the_payload() -> None:
    with pytest.raises(SerializationError, match=r"the codec 'broken' could not write it \(RuntimeError\)") as caught:
        Codecs(Broken()).wrap(b'"secret"', HERE)

    assert "secret" not in str(caught.value)
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize("name", ["", "plain", "a+b", "a b", "é", "x" * 65])
def test_an_id_that_cannot_be_stored_is_refused(name: str) -> None:
    codec = Reversing()
    codec.id = name

    with pytest.raises(UsageError, match="codec id"):
        Codecs(codec)


def test_two_codecs_of_one_id_are_refused() -> None:
    with pytest.raises(UsageError, match="two codecs have the id 'zlib'"):
        Codecs(ZlibCodec(), read_only=[ZlibCodec()])


def test_zlib_leaves_what_is_small_or_hardly_shrinks() -> None:
    codec = ZlibCodec(threshold=100)

    assert codec.encode(b"x" * 99, HERE) is None
    assert codec.encode(bytes(range(256)), HERE) is None
    compressed = codec.encode(b"x" * 10_000, HERE)
    assert compressed is not None
    assert len(compressed) < 100


def test_zlib_refuses_a_bomb_and_a_torso() -> None:
    bomb = Codecs(ZlibCodec()).wrap(b'"' + b"x" * 1_000_000 + b'"', HERE)
    torso = json.loads(bomb)
    torso["data"] = torso["data"][:100]

    for stored in (bomb, msgspec.json.encode(torso)):
        with pytest.raises(SerializationError, match="the codec 'zlib' could not read it"):
            Codecs(ZlibCodec(largest=1_000)).unwrap(stored, HERE)


def changed(stored: bytes) -> bytes:
    envelope = json.loads(stored)
    data = bytearray(base64.b64decode(envelope["data"]))
    data[-1] ^= 1
    return msgspec.json.encode({**envelope, "data": bytes(data)})


@pytest.mark.parametrize(
    "place",
    [
        PayloadContext("order-2", "result", "charge", "charge:1"),
        PayloadContext("order-1", "input", "charge", "charge:1"),
        PayloadContext("order-1", "result", "refund", "charge:1"),
        PayloadContext("order-1", "result", "charge", "charge:2"),
    ],
)
def test_a_signed_payload_is_refused_in_another_place(place: PayloadContext) -> None:
    codecs = Codecs(HmacCodec(KEY))
    stored = codecs.wrap(b'{"paid":false}', HERE)

    with pytest.raises(SerializationError, match="the codec 'hmac-sha256:1' could not read it"):
        codecs.unwrap(stored, place)


def test_a_signed_payload_is_refused_when_changed_or_under_another_key() -> None:
    codecs = Codecs(HmacCodec(KEY))
    stored = codecs.wrap(b'{"paid":false}', HERE)

    with pytest.raises(SerializationError, match="could not read it"):
        codecs.unwrap(changed(stored), HERE)
    with pytest.raises(SerializationError, match="could not read it"):
        Codecs(HmacCodec(KEY[::-1])).unwrap(stored, HERE)
    with pytest.raises(UsageError, match="at least 32 bytes"):
        HmacCodec(b"short")


def test_the_bundled_codecs_fulfil_the_protocol() -> None:
    assert isinstance(ZlibCodec(), PayloadCodec)
    assert isinstance(HmacCodec(KEY), PayloadCodec)


def test_a_size_over_the_limit_names_both() -> None:
    check_size(b"x" * 10, 10, "x")

    expected = "result of activity 'charge' is 2,000,001 bytes of JSON, and at most 2,000,000 are stored"
    for raw in (b"x" * 2_000_001, msgspec.Raw(b"x" * 2_000_001)):
        with pytest.raises(PayloadTooLargeError, match=re.escape(expected)):
            check_size(raw, 2_000_000, Where("result", "activity 'charge'"))
