"""A codec reads back what it wrote, whatever the payload contains and whichever codecs were added later."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from romancy import core
from romancy.errors import CodecError, StorageUnavailableError, UsageError
from romancy.serialization import (
    NO_CODECS,
    Codecs,
    HmacCodec,
    PayloadCodec,
    PayloadContext,
    ZlibCodec,
    is_sealed,
    refuse_sealed,
)

HERE = PayloadContext("order-1", "commit", "7.3")
KINDS: list[Any] = ["commit", "message", "input"]
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
    st.none() | st.integers() | st.text() | st.sampled_from(["$", "Encoded", "zlib"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "codec", "data", "a"]), inner, max_size=3)
    ),
)


@given(documents.map(msgspec.json.encode), st.sampled_from(CHAINS))
def test_any_input_comes_back_byte_for_byte(raw: bytes, chain: tuple[PayloadCodec, ...]) -> None:
    codecs, place = Codecs(*chain), PayloadContext("order-1", "input", "7")

    stored = codecs.wrap(raw, place)

    assert raw == codecs.unwrap(stored, place)
    assert not is_sealed(raw, "input")


@given(st.binary(), st.sampled_from(KINDS), st.sampled_from(CHAINS), st.sampled_from(CHAINS))
def test_codecs_may_change_while_rows_stay(
    data: bytes, kind: Any, before: tuple[PayloadCodec, ...], after: tuple[PayloadCodec, ...]
) -> None:
    place, raw = PayloadContext("order-1", kind, "7.3"), b"[" + data
    stored = Codecs(*before).wrap(raw, place)
    written_by = {codec.id for codec in after}

    later = Codecs(*after, read_only=[codec for codec in before if codec.id not in written_by])

    assert raw == later.unwrap(stored, place)
    assert later.wrap(stored, place) == (stored if is_sealed(stored, kind) else later.wrap(raw, place))


def stored_as(kind: Any) -> bytes:
    return Codecs(Reversing()).wrap(b"[1]", PayloadContext("order-1", kind))


def test_the_stored_forms() -> None:
    envelope = {"type": "Encoded", "codec": "reversed", "data": base64.b64encode(b"]1[").decode()}

    assert b"[1]" == NO_CODECS.wrap(b"[1]", HERE)
    assert [envelope] == json.loads(stored_as("commit"))
    assert envelope == json.loads(stored_as("message"))
    assert envelope == json.loads(stored_as("input").removeprefix(b"$"))
    long = b'"' + b"x" * 10_000 + b'"'
    chain = Codecs(ZlibCodec(), HmacCodec(KEY, key_id="2026"))
    assert "zlib+hmac-sha256:2026" == json.loads(chain.wrap(long, HERE))[0]["codec"]


def test_no_event_is_mistaken_for_what_a_codec_made() -> None:
    assert "Encoded" not in {kind.__name__ for kind in core.KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_what_nobody_could_read_is_refused_by_name(kind: Any) -> None:
    refuse_sealed(b"[1]", kind, "it")

    with pytest.raises(CodecError, match="it was written with the codec 'reversed'"):
        refuse_sealed(stored_as(kind), kind, "it")


def test_an_unknown_codec_is_named() -> None:
    stored = Codecs(HmacCodec(KEY, key_id="old")).wrap(b"1", HERE)

    expected = (
        "commit 7.3 of instance 'order-1': it was written with the codec 'hmac-sha256:old', "
        "which this app does not have"
    )
    with pytest.raises(CodecError, match=re.escape(expected)):
        Codecs(ZlibCodec()).unwrap(stored, HERE)


@pytest.mark.parametrize(
    "stored",
    [
        b'[{"type":"Encoded","codec":"zlib"}]',
        b'[{"type":"Encoded","codec":5,"data":"YQ=="}]',
        b'[{"type":"Encoded","codec":"zlib","data":"not base64"}]',
        b'[{"type":"Encoded","codec":"zlib","data":"YQ=="}]',
        b'[{"type":"Encoded","codec":"zlib","data":"YQ=="',
        b'[{"type":"Encoded","codec":"',
        b'[{"type":"Encoded","codec":"\xff"}]',
    ],
)
def test_a_damaged_envelope_is_refused(stored: bytes) -> None:
    with pytest.raises(CodecError, match=r"commit 7\.3 of instance 'order-1'"):
        Codecs(ZlibCodec()).unwrap(stored, HERE)


def test_a_codec_that_fails_is_named_without_the_payload() -> None:
    with pytest.raises(CodecError, match=r"the codec 'broken' could not write it \(RuntimeError\)") as caught:
        Codecs(Broken()).wrap(b'"secret"', HERE)

    assert "secret" not in str(caught.value)
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize("name", ["", "a+b", "a b", "é", "x" * 65])
def test_an_id_that_cannot_be_stored_is_refused(name: str) -> None:
    codec = Reversing()
    codec.id = name

    with pytest.raises(UsageError, match="codec id"):
        Codecs(codec)


def test_one_that_cannot_work_now_is_waited_for() -> None:
    class Away(Reversing):
        def encode(self, data: bytes, _context: PayloadContext, /) -> bytes:
            raise StorageUnavailableError("the keys cannot be reached")

        decode = encode

    for act in (Codecs(Away()).wrap, Codecs(Away()).unwrap):
        with pytest.raises(StorageUnavailableError, match="the keys cannot be reached"):
            act(b"[1]" if act.__name__ == "wrap" else stored_as("commit"), HERE)


def test_two_codecs_of_one_id_are_refused() -> None:
    with pytest.raises(UsageError, match="two codecs have the id 'zlib'"):
        Codecs(ZlibCodec(), read_only=[ZlibCodec()])


@pytest.mark.parametrize("thing", ["zlib", 5, None, ZlibCodec], ids=["str", "int", "none", "class"])
def test_what_is_no_codec_is_refused(thing: Any) -> None:
    with pytest.raises(UsageError, match="codecs= takes"):
        Codecs(thing)
    with pytest.raises(UsageError, match="codecs= takes"):
        Codecs(read_only=[thing])


def test_a_codec_behind_another_object_is_taken() -> None:
    class Wrapper:
        def __getattr__(self, name: str) -> Any:
            return getattr(ZlibCodec(), name)

    wrapper: Any = Wrapper()
    codecs = Codecs(wrapper)

    assert codecs.unwrap(codecs.wrap(b"[1]", HERE), HERE) == b"[1]"


@pytest.mark.parametrize("thing", ["zlib", 5, None, ZlibCodec(), ZlibCodec], ids=["str", "int", "none", "one", "class"])
def test_an_app_takes_several_codecs(thing: Any) -> None:
    with pytest.raises(UsageError, match="codecs= takes"):
        Codecs.of(thing)


@pytest.mark.parametrize("thing", [None, 5, ZlibCodec()])
def test_the_codecs_of_old_rows_come_in_a_list(thing: Any) -> None:
    with pytest.raises(UsageError, match="read_only= takes codecs in a list"):
        Codecs(read_only=thing)


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
    torso[0]["data"] = torso[0]["data"][:100]

    for stored in (bomb, msgspec.json.encode(torso)):
        with pytest.raises(CodecError, match="the codec 'zlib' could not read it"):
            Codecs(ZlibCodec(largest=1_000)).unwrap(stored, HERE)


def changed(stored: bytes) -> bytes:
    (envelope,) = json.loads(stored)
    data = bytearray(base64.b64decode(envelope["data"]))
    data[-1] ^= 1
    return msgspec.json.encode([{**envelope, "data": bytes(data)}])


@pytest.mark.parametrize(
    "place",
    [
        PayloadContext("order-2", "commit", "7.3"),
        PayloadContext("order-1", "commit", "7.4"),
        PayloadContext("order-1", "commit", "8.3"),
    ],
)
def test_a_signed_payload_is_refused_in_another_place(place: PayloadContext) -> None:
    codecs = Codecs(HmacCodec(KEY))
    stored = codecs.wrap(b'{"paid":false}', HERE)

    with pytest.raises(CodecError, match="the codec 'hmac-sha256:1' could not read it"):
        codecs.unwrap(stored, place)


def test_a_signed_payload_is_refused_when_changed_or_under_another_key() -> None:
    codecs = Codecs(HmacCodec(KEY))
    stored = codecs.wrap(b'{"paid":false}', HERE)

    with pytest.raises(CodecError, match="could not read it"):
        codecs.unwrap(changed(stored), HERE)
    with pytest.raises(CodecError, match="could not read it"):
        Codecs(HmacCodec(KEY[::-1])).unwrap(stored, HERE)
    with pytest.raises(UsageError, match="at least 32 bytes"):
        HmacCodec(b"short")


def test_the_bundled_codecs_fulfil_the_protocol() -> None:
    assert isinstance(ZlibCodec(), PayloadCodec)
    assert isinstance(HmacCodec(KEY), PayloadCodec)
