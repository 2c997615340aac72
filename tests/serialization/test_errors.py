"""Exceptions as data: describing never fails, rebuilding uses only the classes it is given."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar, Self, cast
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from romancy.errors import ActivityError, RetryExhaustedError, TerminalError
from romancy.serialization import ErrorInfo, describe_exception, exception_name, rebuild_exception
from tests.serialization import models as m


class DeclinedError(TerminalError):
    """Its arguments are not those of its `__init__`, as is common."""

    made: ClassVar[int] = 0

    def __init__(self, order_id: UUID, amount: Decimal) -> None:
        type(self).made += 1
        super().__init__(f"declined {order_id}")
        self.order_id = order_id
        self.amount = amount
        self.connection = m.Breaks()


class LostCardError(DeclinedError):
    pass


@dataclass
class LateError(Exception):
    by: Decimal

    def __str__(self) -> str:
        return f"late by {self.by}"


class SlottedError(Exception):
    __slots__ = ("code", "unset")

    code: int
    unset: int


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class PickyError(Exception):
    def __new__(cls, *args: object) -> Self:
        if not args or args[0] != "open sesame":
            raise RuntimeError("not like this")
        return super().__new__(cls, *args)


class SeveralError(ExceptionGroup[Exception]):
    pass


ID = UUID(int=7)


def raised(exc: BaseException) -> BaseException:
    try:
        raise exc
    except BaseException as caught:  # noqa: BLE001 (whatever it is)
        return caught


def there_and_back(
    exc: BaseException, *allowed: type[Exception], declared: tuple[type[Exception], ...] = ()
) -> Exception:
    info = describe_exception(raised(exc), declared or allowed)
    stored = msgspec.json.decode(msgspec.json.encode(info), type=ErrorInfo)
    assert info == stored
    return rebuild_exception(stored, {exception_name(cls): cls for cls in allowed}, activity_id="pay:1", attempts=3)


def test_an_allowed_class_comes_back_as_itself_without_its_init() -> None:
    original = DeclinedError(ID, Decimal("1.50"))
    original.add_note("seen at the desk")
    made = DeclinedError.made

    back = there_and_back(original, DeclinedError)

    assert type(back) is DeclinedError
    assert "declined 00000000-0000-0000-0000-000000000007" == str(back)
    assert (ID, Decimal("1.50")) == (back.order_id, back.amount)
    assert ["seen at the desk"] == back.__notes__
    assert not hasattr(back, "connection")
    assert made == DeclinedError.made


def test_a_declared_base_catches_what_is_derived_from_it() -> None:
    assert type(there_and_back(LostCardError(ID, Decimal(1)), DeclinedError)) is DeclinedError
    assert type(there_and_back(LostCardError(ID, Decimal(1)), TerminalError)) is TerminalError
    assert type(there_and_back(FileNotFoundError(2, "gone"), OSError)) is FileNotFoundError


def test_everything_else_is_an_activity_error() -> None:
    back = there_and_back(LostCardError(ID, Decimal(1)))

    assert isinstance(back, ActivityError)
    assert f"{__name__}.LostCardError: declined {ID}" == str(back)
    assert (f"{__name__}.LostCardError", "pay:1", 3) == (back.error_type, back.activity_id, back.attempts)
    assert "raise exc" in back.trace
    assert back.trace.endswith(str(back))


BUILTINS: list[Exception] = [
    ValueError("x", 1, None),
    KeyError("key"),
    FileNotFoundError(2, "gone", "there"),
    OSError("only text"),
    ImportError("no module", name="ghost"),
    StopIteration(5),
    ZeroDivisionError(),
    LookupError([1, {"a": 2}]),
    LateError(Decimal("1.0")),
]


@pytest.mark.parametrize("original", BUILTINS, ids=repr)
def test_arguments_and_text_are_kept(original: Exception) -> None:
    back = there_and_back(original, type(original))

    assert type(original) is type(back)
    assert original.args == back.args
    assert str(original) == str(back)


def test_slots_are_kept() -> None:
    original = SlottedError("x")
    original.code = 5

    back = there_and_back(original, SlottedError)

    assert isinstance(back, SlottedError)
    assert 5 == back.code
    assert not hasattr(back, "unset")


def test_the_type_is_kept_if_the_arguments_cannot_be() -> None:
    back = there_and_back(ValueError(m.Breaks(), 1), ValueError)

    assert type(back) is ValueError
    assert "no message" in str(back)


def test_what_is_too_large_is_left_out_and_the_type_stays() -> None:
    back = there_and_back(ValueError("x" * 10_000_000), ValueError)

    assert type(back) is ValueError
    assert str(back).endswith("… (10,000,000 characters)")
    assert len(str(back)) < 4_100


def test_only_declared_types_leave_their_attributes_in_the_log() -> None:
    """The arguments are those of the text, which is there anyway."""
    error = KeyError("key")
    error.secret = "hidden"  # type: ignore[attr-defined]
    assert b'{"args":["key"]}' == bytes(describe_exception(error).data)
    declared = bytes(describe_exception(error, (LookupError,)).data)
    assert b'{"args":["key"],"attributes":{"secret":"hidden"}}' == declared


@pytest.mark.parametrize("args", [(b"x",), ((1, 2),), (object(),), ({1: 2},), ()])
def test_arguments_that_no_declaration_brings_back_are_left_out(args: tuple[object, ...]) -> None:
    assert b"" == bytes(describe_exception(ValueError(*args)).data)


def test_arguments_are_kept_at_both_ends_of_a_chain() -> None:
    def fail(number: int) -> None:
        try:
            if number:
                fail(number - 1)
        finally:
            raise ValueError("at", number)

    for depth in (0, 1, 2, 10, 40):
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - whatever it says
            fail(depth)
        chain = chain_of(describe_exception(caught.value))
        assert min(depth + 1, 24) == len(chain)
        assert b'{"args":["at",%d]}' % depth == bytes(chain[0].data)
        assert b'{"args":["at",0]}' == bytes(chain[-1].data)
        assert all(b"" == bytes(one.data) for one in chain[1:-1])


NOTHING: dict[str, str] = {}


def chain_of(info: ErrorInfo) -> list[ErrorInfo]:
    """The exception and its causes."""
    return [info, *(chain_of(info.cause) if info.cause is not None else ())]


def test_what_was_made_from_a_record_is_recorded_as_it_was() -> None:
    """In a parent, of a child: class, arguments, frames and causes, also of a class that is not here."""

    def fail() -> None:
        try:
            NOTHING["k"]
        except KeyError as error:
            raise PickyError("open sesame") from error

    with pytest.raises(PickyError) as raised:
        fail()
    info = describe_exception(raised.value)

    for _ in range(3):
        stands_for_it = rebuild_exception(info, {"KeyError": KeyError})
        assert type(stands_for_it) is ActivityError
        outer = ValueError("outer")
        outer.__cause__ = stands_for_it
        assert info == describe_exception(outer).cause

    with pytest.raises(ActivityError) as caught:
        raise rebuild_exception(info, {})
    again = describe_exception(caught.value)
    assert (info.type, info.message, info.bases, info.data) == (again.type, again.message, again.bases, again.data)
    assert info.trace in again.trace
    assert "raised again" in again.trace
    assert again.cause is not None
    assert "KeyError" == again.cause.type


def test_records_of_records_stay_within_bounds() -> None:
    """A chain of workflows that each wrap the failure of their child does not fill the log."""
    error: Exception = KeyError("root")
    for number in range(300):
        wrapper = ValueError(f"level {number}")
        wrapper.__cause__ = error
        info = describe_exception(wrapper)
        error = rebuild_exception(info, {"ValueError": ValueError, "KeyError": KeyError})

    chain = chain_of(describe_exception(error))
    assert len(chain) <= 24
    assert ("level 299", "'root'") == (chain[0].message, chain[-1].message)
    assert ("root",) == rebuild_exception(chain[-1], {"KeyError": KeyError}).args


KEYS: list[object] = [
    "k", "", "it's", 'a "b"', "both ' and \"", "a\nb\\c\td", "\x00\x1f", "é", "\u2028", "\U0010ffff", "'k'", "k" * 3000,
    5, -7, 0, 10**200, b"k", b"\xff'", True, None, ("a", 1), ("a",), (), ("it's", None),
]  # fmt: skip
NO_KEYS = ["no literal", "'", "'a' 'b'", "(", "1is 2", "'\\d'", "[1]", "k" * 5000, "((1,),)", "007", "-0", "(1,2)"]


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_the_key_of_a_key_error_is_the_key(key: object) -> None:
    info = describe_exception(KeyError(key))
    back = rebuild_exception(info, {info.type: KeyError})

    assert (type(back), back.args, str(back)) == (KeyError, (key,), str(KeyError(key)))


@pytest.mark.parametrize("message", NO_KEYS)
def test_what_shows_no_key_stays_the_text(message: str) -> None:
    info = ErrorInfo(exception_name(KeyError), message)

    assert rebuild_exception(info, {info.type: KeyError}).args == (message,)


@given(st.text() | st.binary() | st.integers() | st.tuples(st.text(), st.integers()))
def test_any_key_comes_back(key: object) -> None:
    info = describe_exception(KeyError(key))
    back = rebuild_exception(info, {info.type: KeyError})

    assert str(back) == str(KeyError(key)) or "characters)" in info.message


class MissingError(KeyError):
    def __str__(self) -> str:
        return f"nothing at {self.args[0]!r}"


def test_a_key_error_with_a_text_of_its_own_keeps_it() -> None:
    info = describe_exception(MissingError("k"))

    assert rebuild_exception(info, {info.type: MissingError}).args == ("k",)
    assert rebuild_exception(info, {exception_name(KeyError): KeyError}).args == ("nothing at 'k'",)


def test_a_class_that_cannot_be_made_falls_back() -> None:
    info = ErrorInfo(exception_name(PickyError), "x")

    assert type(rebuild_exception(info, {info.type: PickyError})) is ActivityError
    assert type(there_and_back(PickyError("open sesame"), PickyError)) is PickyError
    assert type(there_and_back(UnicodeDecodeError("utf8", b"a", 0, 1, "x"), UnicodeDecodeError)) is ActivityError


@pytest.mark.parametrize("data", [b"[]", b'{"args":5}', b"nonsense", b'{"attributes":{"__class__":1,"args":2}}'])
def test_damaged_data_is_no_obstacle(data: bytes) -> None:
    back = rebuild_exception(ErrorInfo("ValueError", "x", data=msgspec.Raw(data)), {"ValueError": ValueError})

    assert type(back) is ValueError


def test_nothing_is_imported_by_name() -> None:
    assert type(rebuild_exception(ErrorInfo("ValueError", "x"), {})) is ActivityError
    assert type(rebuild_exception(ErrorInfo("os._exit", "1"), {})) is ActivityError


def test_a_script_and_its_import_are_one_module() -> None:
    recorded = ErrorInfo("__main__.DeclinedError", "x")
    imported = ErrorInfo("orders.DeclinedError", "x")

    assert type(rebuild_exception(recorded, {"orders.DeclinedError": DeclinedError})) is DeclinedError
    assert type(rebuild_exception(imported, {"__main__.DeclinedError": DeclinedError})) is DeclinedError
    assert type(rebuild_exception(recorded, {"orders.OtherError": LateError})) is ActivityError
    both: dict[str, type[Exception]] = {"a.DeclinedError": DeclinedError, "b.DeclinedError": LateError}
    assert type(rebuild_exception(recorded, both)) is ActivityError


def test_causes_come_back() -> None:
    original = ValueError("outer")
    original.__cause__ = DeclinedError(ID, Decimal(1))
    original.__cause__.__context__ = KeyError("inner")

    back = there_and_back(original, ValueError, DeclinedError)

    assert type(back.__cause__) is DeclinedError
    assert isinstance(back.__cause__.__cause__, ActivityError)
    assert "KeyError" == back.__cause__.__cause__.error_type


def test_a_suppressed_context_is_no_cause() -> None:
    original = ValueError("outer")
    original.__context__ = KeyError("inner")
    assert describe_exception(original).cause is not None

    original.__suppress_context__ = True

    assert describe_exception(original).cause is None


def test_causes_in_a_circle_end() -> None:
    one, other = ValueError("one"), KeyError("other")
    one.__cause__, other.__cause__ = other, one

    info = describe_exception(one)

    assert info.cause is not None
    assert info.cause.cause is None


def test_the_whole_is_bounded() -> None:
    exc: Exception = ValueError("x" * 10_000)
    for _ in range(100):
        outer = TerminalError("x" * 10_000)
        outer.__cause__ = exc
        exc = ExceptionGroup("many", [outer, *(ValueError("y" * 10_000) for _ in range(50))])

    assert len(msgspec.json.encode(describe_exception(exc))) < 1_000_000


def test_groups_stay_groups() -> None:
    original = ExceptionGroup("two", [DeclinedError(ID, Decimal(1)), ExceptionGroup("deeper", [KeyError(1)])])

    back = there_and_back(original, DeclinedError)

    caught: list[BaseException] = []
    try:
        raise back
    except* DeclinedError as declined:
        caught.extend(declined.exceptions)
    except* ActivityError as others:
        caught.extend(others.exceptions)
    assert [DeclinedError, ExceptionGroup] == [type(exc) for exc in caught]
    assert "two (2 sub-exceptions)" == str(back)


def test_groups_of_ones_own() -> None:
    assert type(there_and_back(SeveralError("s", [ValueError()]), SeveralError)) is SeveralError
    assert type(there_and_back(SeveralError("s", [ValueError()]))) is ExceptionGroup
    assert type(there_and_back(BaseExceptionGroup("s", [KeyboardInterrupt()]))) is ExceptionGroup


def test_the_frames_are_those_of_the_user() -> None:
    def fails() -> None:
        raise ValueError("here")

    with pytest.raises(ValueError, match="here") as caught:
        fails()
    trace = describe_exception(caught.value).trace

    assert 'raise ValueError("here")' in trace
    assert "in fails" in trace
    assert trace.endswith("ValueError: here")


def test_frames_of_the_library_are_left_out() -> None:
    with pytest.raises(AttributeError) as caught:
        rebuild_exception(cast("ErrorInfo", None), {})
    trace = describe_exception(caught.value).trace

    assert "test_errors.py" in trace
    assert "_rebuild.py" not in trace


def test_a_deep_stack_is_cut_in_the_middle() -> None:
    def odd(n: int) -> None:
        even(n - 1)

    def even(n: int) -> None:
        if not n:
            raise ValueError("bottom")
        odd(n - 1)

    with pytest.raises(ValueError, match="bottom") as caught:
        even(100)
    trace = describe_exception(caught.value).trace

    assert "frames left out]" in trace
    assert trace.endswith("ValueError: bottom")
    assert len(trace) < 8_100


HOSTILE: list[BaseException] = [
    UnprintableError("x"),
    ValueError("\ud800\x00"),
    ValueError("x" * 10_000_000),
    ValueError(m.Breaks()),
    RetryExhaustedError("x", history=["a"]),
    KeyboardInterrupt(),
    SystemExit(3),
    ExceptionGroup("\ud800", [UnprintableError()]),
]


@pytest.mark.parametrize("exc", HOSTILE, ids=lambda exc: type(exc).__name__)
def test_describing_never_fails(exc: BaseException) -> None:
    info = describe_exception(raised(exc), (type(exc),))

    assert info == msgspec.json.decode(msgspec.json.encode(info), type=ErrorInfo)
    assert isinstance(rebuild_exception(info, {}), Exception)


def test_an_exception_whose_attributes_fight_back() -> None:
    class HostileError(Exception):
        __slots__ = ("trap",)

        def __getattribute__(self, name: str) -> Any:
            if name == "trap":
                raise RuntimeError("no")
            return super().__getattribute__(name)

    hostile = HostileError("x")
    hostile.__notes__ = 5  # type: ignore[assignment]
    hostile.circle = hostile  # type: ignore[attr-defined]

    assert "x" == describe_exception(raised(hostile), (HostileError,)).message


def test_recursion_at_its_limit_is_described() -> None:
    def forever() -> None:
        forever()

    with pytest.raises(RecursionError) as caught:
        forever()

    assert "RecursionError" == describe_exception(caught.value).type


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3)
)


@given(st.lists(json_values, max_size=4))
def test_json_arguments_come_back(args: list[Any]) -> None:
    assert tuple(args) == there_and_back(ValueError(*args), ValueError).args


@given(st.lists(st.text(st.characters(codec=None)) | st.binary() | st.floats() | st.builds(m.Breaks), max_size=3))
def test_any_arguments_are_described(args: list[Any]) -> None:
    assert type(there_and_back(ValueError(*args), ValueError)) is ValueError


def test_a_group_tells_of_its_first_members_in_one_line() -> None:
    info = describe_exception(ExceptionGroup("many", [ValueError("a"), ExceptionGroup("deep", [KeyError("b")])]))
    assert info.summary == "ExceptionGroup: many (ValueError: a; ExceptionGroup: deep (KeyError: 'b'))"
    several = describe_exception(ExceptionGroup("many", [ValueError(str(number)) for number in range(5)]))
    assert several.summary == "ExceptionGroup: many (ValueError: 0; ValueError: 1; ValueError: 2; and 2 more)"
