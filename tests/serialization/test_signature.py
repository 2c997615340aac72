"""A call is stored by the names and types of its parameters, and comes back as the same call."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Callable, Iterator  # noqa: TC003 (read at run time)
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypedDict, TypeVar
from uuid import UUID

import msgspec
import pytest

from romancy.errors import RegistrationError, SerializationError, UsageError
from romancy.serialization import Parameter, Signature
from romancy.serialization._names import names_around
from tests.serialization import models as m

if TYPE_CHECKING:

    class Ghost:
        """Known only to type checkers."""


T = TypeVar("T")


class Provided:
    """Marks a dependency, as the authoring layer's own mark does."""


def signature(fn: Callable[..., object], skip_first: int = 0) -> Signature:
    return Signature.of(
        fn, skip_first, subject=f"activity {fn.__name__!r}", is_injected=lambda default: isinstance(default, Provided)
    )


def nothing() -> None: ...
def one(order: m.Order) -> m.Item: ...  # type: ignore[empty-body]
def keyword(*, order: m.Order) -> None: ...
def several(a: int, b: str = "x", *, c: UUID | None = None) -> None: ...
def bare(a, b=(1, 2)): ...  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
def generic(value: T) -> list[T]: ...  # type: ignore[empty-body]
def endless() -> NoReturn: ...  # type: ignore[empty-body]
def accents(größe: int, naïve: str) -> None: ...  # noqa: PLC2401
def with_context(ctx: object, order: m.Order, *, client: Provided = Provided()) -> None: ...  # noqa: B008
async def asynchronous(order: m.Order) -> m.Item: ...  # type: ignore[empty-body]


CALLS: list[tuple[Callable[..., object], tuple[Any, ...], dict[str, Any], bytes]] = [
    (nothing, (), {}, b"{}"),
    (one, (m.Order([], "n"),), {}, b'{"order":{"items":[],"note":"n"}}'),
    (one, (), {"order": m.Order([])}, b'{"order":{"items":[],"note":null}}'),
    (keyword, (), {"order": m.Order([])}, b'{"order":{"items":[],"note":null}}'),
    (several, (1,), {}, b'{"a":1,"b":"x","c":null}'),
    (several, (1, "y"), {"c": UUID(int=1)}, b'{"a":1,"b":"y","c":"00000000-0000-0000-0000-000000000001"}'),
    (several, (), {"b": "y", "a": 1}, b'{"a":1,"b":"y","c":null}'),
    (bare, ("x",), {}, b'{"a":"x","b":[1,2]}'),
    (generic, ([1],), {}, b'{"value":[1]}'),
    (accents, (1, "x"), {}, '{"größe":1,"naïve":"x"}'.encode()),
    (with_context, (m.Order([]),), {}, b'{"order":{"items":[],"note":null}}'),
]


@pytest.mark.parametrize(("fn", "args", "kwargs", "raw"), CALLS, ids=lambda part: getattr(part, "__name__", ""))
def test_the_stored_form(fn: Any, args: Any, kwargs: Any, raw: bytes) -> None:
    assert raw == signature(fn, fn is with_context).encode_arguments(args, kwargs)


def test_the_same_call_comes_back() -> None:
    stored = signature(several)

    raw = stored.encode_arguments((1,), {"c": UUID(int=1)})

    assert ((1, "x"), {"c": UUID(int=1)}) == stored.decode_arguments(raw)
    assert ((), {"order": m.Order([])}) == signature(keyword).decode_arguments(b'{"order":{"items":[]}}')
    assert ((), {}) == signature(nothing).decode_arguments(b"{}")
    assert ((m.Order([]),), {}) == signature(asynchronous).decode_arguments(msgspec.Raw(b'{"order":{"items":[]}}'))


def test_results_by_their_annotation() -> None:
    assert b'{"price":1.0,"count":0}' == signature(one).encode_result(m.Item(1.0))
    assert m.Item(1.0) == signature(asynchronous).decode_result(b'{"price":1.0}')
    assert b"null" == signature(nothing).encode_result(None)
    assert {"a": 1} == signature(CALLS[7][0]).decode_result(b'{"a":1}')
    with pytest.raises(SerializationError, match="result of activity 'nothing': expected None, got int"):
        signature(nothing).encode_result(3)
    with pytest.raises(SerializationError, match="result of activity 'endless': expected None"):
        signature(endless).encode_result(3)


WRONG: list[tuple[Callable[..., object], tuple[Any, ...], dict[str, Any], str]] = [
    (several, (), {}, "activity 'several' needs the argument(s) 'a'"),
    (several, (1, "x", None), {}, "activity 'several' takes 2 positional argument(s) ('a', 'b'), and 3 were given"),
    (several, (1,), {"a": 1}, "activity 'several' was given its argument 'a' twice"),
    (several, (1,), {"d": 1}, "activity 'several' has no parameter 'd'; it has 'a', 'b', 'c'"),
    (nothing, (1,), {}, "activity 'nothing' takes 0 positional argument(s) (none), and 1 were given"),
    (keyword, (m.Order([]),), {}, "activity 'keyword' takes 0 positional argument(s) (none), and 1 were given"),
    (several, ("5",), {}, "parameter 'a' of activity 'several': expected int, got str"),
    (several, (True,), {}, "parameter 'a' of activity 'several': expected int, got bool"),
    (several, (1,), {"c": "x"}, "parameter 'c' of activity 'several': invalid UUID"),
    (several, (1,), {"c": str(UUID(int=1))}, "parameter 'c' of activity 'several': str was given where uuid.UUID is"),
    (one, ({"items": []},), {}, "parameter 'order' of activity 'one': dict was given where"),
    (one, (m.Order([m.Item(float("nan"))]),), {}, "parameter 'order' of activity 'one' at $.items[0].price: NaN"),
    (bare, ({1: 2},), {}, "parameter 'a' of activity 'bare': a key of type int would come back as str"),
    (with_context, (), {"order": m.Order([]), "client": 1}, "activity 'with_context' has no parameter 'client'"),
]


@pytest.mark.parametrize(
    ("fn", "args", "kwargs", "message"), WRONG, ids=lambda part: part if isinstance(part, str) else ""
)
def test_a_wrong_call_is_refused_before_anything_is_written(fn: Any, args: Any, kwargs: Any, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        signature(fn, fn is with_context).encode_arguments(args, kwargs)


STALE: list[tuple[Callable[..., object], bytes, str]] = [
    (several, b'{"a":1,"z":2}', "arguments of activity 'several': there is no parameter 'z'; there is 'a', 'b', 'c'"),
    (several, b'{"b":"y"}', "parameter 'a' of activity 'several': it is not among those stored ('b')"),
    (several, b'{"a":"1"}', "parameter 'a' of activity 'several': expected int, got str (declared as int)"),
    (several, b"[1]", "arguments of activity 'several': expected object, got array"),
    (several, b"nonsense", "arguments of activity 'several': not valid JSON"),
    (several, b'{"a":"\xff"}', "parameter 'a' of activity 'several': expected int, got str"),
    (
        several,
        b'{"a":' + b"[" * 99_999,
        # From 3.14 on, the real end of the stack counts, and this is not deep enough to reach it.
        "arguments of activity 'several': "
        + ("nested deeper than the interpreter can follow" if sys.version_info < (3, 14) else "not valid JSON"),
    ),
    (nothing, b"1", "arguments of activity 'nothing': expected object, got int"),
    (nothing, b'{"a":1}', "arguments of activity 'nothing': there is no parameter 'a'; there is none"),
    (
        one,
        b'{"order":{"items":[{"price":"x"}]}}',
        "parameter 'order' of activity 'one' at $.items[0].price: expected float",
    ),
]


@pytest.mark.parametrize(("fn", "raw", "message"), STALE, ids=lambda part: getattr(part, "__name__", str(part)[:30]))
def test_a_stored_call_of_another_shape_is_refused(fn: Any, raw: bytes, message: str) -> None:
    with pytest.raises(SerializationError, match=re.escape(message)):
        signature(fn).decode_arguments(raw)


def test_a_parameter_added_since_has_its_default() -> None:
    assert ((1, "x"), {"c": None}) == signature(several).decode_arguments(b'{"a":1}')


def test_what_the_engine_supplies_is_left_out() -> None:
    stored = signature(with_context, skip_first=True)

    assert (Parameter("order", keyword_only=False, default=stored.parameters[0].default),) == stored.parameters
    assert stored.parameters[0].required
    assert ["client"] == list(stored.injected)
    assert isinstance(stored.injected["client"], Provided)


def takes_many(*orders: int) -> None: ...
def takes_any(**options: int) -> None: ...
def by_position(order: int, /) -> None: ...
def loose_dependency(order: int, client: Provided = Provided()) -> None: ...  # noqa: B008
def context_by_position(ctx: object, /, order: int) -> None: ...
def no_context(*args: object) -> None: ...


@pytest.mark.parametrize(
    ("fn", "skip", "message"),
    [
        (takes_many, 0, "activity 'takes_many' takes *orders, whose values have no name"),
        (takes_any, 0, "activity 'takes_any' takes **options, whose values have no name"),
        (by_position, 0, "activity 'by_position' takes 'order' by position only"),
        (loose_dependency, 0, "activity 'loose_dependency': the dependency 'client' must be keyword-only"),
        (nothing, 1, "activity 'nothing' must take 1 leading parameter(s), which Romancy supplies; it takes 0"),
        (no_context, 1, "activity 'no_context' must take 1 leading parameter(s)"),
    ],
)
def test_a_function_that_cannot_be_called_from_the_log(fn: Any, skip: int, message: str) -> None:
    with pytest.raises(RegistrationError, match=re.escape(message)):
        signature(fn, skip)


def test_the_context_may_be_positional_only() -> None:
    assert b'{"order":5}' == signature(context_by_position, skip_first=True).encode_arguments((5,), {})


def haunted(order: Ghost) -> None: ...
def broken(order: 1 / 0) -> None: ...  # type: ignore[valid-type]
def endless_input(orders: Iterator[int]) -> None: ...


UNKNOWN: list[tuple[Callable[..., object], str]] = [
    (haunted, "the type of the parameter 'order' of activity 'haunted' cannot be found: name 'Ghost' is not"),
    (broken, "the annotation of the parameter 'order' of activity 'broken' cannot be evaluated"),
    (endless_input, "parameter 'orders' of activity 'endless_input', declared as"),
]


@pytest.mark.parametrize(("fn", "message"), UNKNOWN)
def test_types_are_looked_at_when_first_needed(fn: Any, message: str) -> None:
    stored = signature(fn)

    for use in (stored.check, lambda: stored.encode_arguments((1,), {}), lambda: stored.decode_arguments(b"1")):
        with pytest.raises(RegistrationError, match=re.escape(message)):
            use()


def early(order: Late) -> None: ...


early_signature = signature(early)


@dataclass
class Late:
    day: date


def test_a_type_may_be_defined_after_the_function() -> None:
    assert b'{"order":{"day":"2024-01-02"}}' == early_signature.encode_arguments((Late(date(2024, 1, 2)),), {})


def test_local_types_made_of_local_types() -> None:
    @dataclass
    class Part:
        weight: float

    @dataclass
    class Engine:
        parts: list[Part]
        spare: Part | None = None

    class Options(TypedDict):
        parts: list[Part]

    class Pair(NamedTuple):
        first: Part
        second: Part

    class Frozen(msgspec.Struct):
        parts: dict[str, Part]

    def build(engine: Engine, options: Options, pair: Pair, frozen: Frozen) -> Engine | None: ...

    stored = signature(build)
    part = Part(1.5)
    args = (Engine([part]), Options(parts=[part]), Pair(part, part), Frozen({"a": part}))

    assert (args, {}) == stored.decode_arguments(stored.encode_arguments(args, {}))
    assert Engine([part]) == stored.decode_result(stored.encode_result(Engine([part])))


def test_a_local_class_defined_after_the_function_if_its_code_uses_it() -> None:
    def build(order: Later) -> None:
        assert isinstance(order, Later)

    stored = signature(build)

    @dataclass
    class Later:
        x: int

    assert b'{"order":{"x":1}}' == stored.encode_arguments((Later(1),), {})


def test_a_type_of_the_class_around_a_method() -> None:
    class Service:
        class Request(msgspec.Struct):
            x: int

        @staticmethod
        def handle(request: Request) -> None: ...

        signature = Signature.of(handle, subject="activity 'handle'")

    assert b'{"request":{"x":1}}' == Service.signature.encode_arguments((Service.Request(1),), {})


def test_only_types_of_the_surroundings_are_kept() -> None:
    secret = object()

    def uses(order: m.Order) -> None:
        assert secret

    kept = names_around(uses)

    assert secret not in kept.values()
    assert all(isinstance(value, type | types.ModuleType) for value in kept.values())


class Holder:
    class Inner:
        pass

    def method(self) -> None: ...

    kept = names_around(method)


def test_what_the_module_names_is_looked_up_when_needed() -> None:
    assert {"Inner"} == {name for name in Holder.kept if not name.startswith("__")}


def test_the_subject_defaults_to_the_functions_name() -> None:
    with pytest.raises(UsageError, match="function 'several' needs the argument"):
        Signature.of(several).encode_arguments((), {})


@pytest.mark.parametrize(
    ("older", "newer", "same"),
    [
        (b'{"a":1}', b'{"a":1,"b":"x","c":null}', True),
        (b'{"a":1}', b'{"a":1,"b":"y","c":null}', False),
        (b'{"a":1}', b'{"a":2,"b":"x","c":null}', False),
        (b'{"a":1,"b":"x","c":null}', b'{"a":1}', False),
        (b"1", b'{"a":1}', False),
        (b'{"a":1,"z":1}', b'{"a":1,"z":1}', False),
    ],
)
def test_an_older_call_is_the_same_where_defaults_make_it_so(older: bytes, newer: bytes, *, same: bool) -> None:
    assert same == signature(several).is_same_call(older, newer)


def test_a_field_added_since_makes_no_other_call_and_what_equals_all_no_same_one() -> None:
    @dataclass(eq=False)
    class Alike:
        name: str
        note: str | None = None

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Alike)

        __hash__ = None  # type: ignore[assignment]

    def takes(items: Any) -> None: ...

    takes.__annotations__["items"] = list[Alike]
    same = signature(takes).is_same_call
    assert same(b'{"items":[{"name":"a"}]}', b'{"items":[{"name":"a","note":null}]}')
    assert not same(b'{"items":[{"name":"a"}]}', b'{"items":[{"name":"b","note":null}]}')
    assert not same(b'{"items":[{"name":"a"}]}', b'{"items":[]}')


@pytest.mark.parametrize(("older", "newer"), [(b"1", b"true"), (b"1", b"1.0"), (b'{"n":0}', b'{"n":false}')])
def test_what_python_takes_for_equal_makes_another_call(older: bytes, newer: bytes) -> None:
    def takes(anything: Any) -> None: ...

    same = signature(takes).is_same_call
    assert same(b'{"anything":%b}' % older, b'{"anything":%b}' % older)
    assert not same(b'{"anything":%b}' % older, b'{"anything":%b}' % newer)


def one_id(order_id: str) -> None: ...
def one_id_and_a_note(order_id: str, note: str = "n", *, gift: bool = False) -> None: ...


def test_a_second_parameter_with_a_default_fits_stored_calls_of_one() -> None:
    stored = signature(one_id).encode_arguments(("o-1",), {})
    later = signature(one_id_and_a_note)

    assert (("o-1", "n"), {"gift": False}) == later.decode_arguments(stored)
    assert later.is_same_call(stored, later.encode_arguments(("o-1",), {}))
    assert not later.is_same_call(stored, later.encode_arguments(("o-1", "other"), {}))


def test_a_second_parameter_that_is_gone_is_named() -> None:
    stored = signature(one_id_and_a_note).encode_arguments(("o-1",), {})

    with pytest.raises(SerializationError, match=r"there is no parameter 'gift', 'note'; there is 'order_id'"):
        signature(one_id).decode_arguments(stored)


@pytest.mark.parametrize("raw", [b'{"order_id": "o-1"}', b' {"order_id":"o-1"}\n', b'{"order_id"\t:"o-1"}'])
def test_blanks_in_a_stored_call_do_not_matter(raw: bytes) -> None:
    assert (("o-1",), {}) == signature(one_id).decode_arguments(raw)


@pytest.mark.parametrize(
    "raw", [b'{"order_id":"o-1"', b'{"order_id":"o-1"}}', b'{"order_id":"o-1",}', b'{"order_id":1x}']
)
def test_a_damaged_call_of_one_parameter_is_refused(raw: bytes) -> None:
    with pytest.raises(SerializationError, match="not valid JSON"):
        signature(one_id).decode_arguments(raw)


class Boxed(msgspec.Struct):
    order: str


def boxed(order: Boxed) -> None: ...
def of_a_dict(data: dict[str, int]) -> None: ...
def all_by_default(order_id: str = "o-0", note: str = "n") -> None: ...


GIVEN: list[tuple[Callable[..., object], bytes, tuple[Any, ...]]] = [
    (one_id, b'"o-1"', ("o-1",)),
    (one_id, b'{"order_id":"o-1"}', ("o-1",)),
    (one, b'{"items":[]}', (m.Order([]),)),
    (one, b'{"order":{"items":[]}}', (m.Order([]),)),
    (boxed, b'{"order":"x"}', (Boxed("x"),)),  # the only member has the name of the parameter
    (boxed, b'{"order":{"order":"x"}}', (Boxed("x"),)),
    (of_a_dict, b'{"a":1}', ({"a": 1},)),
    (of_a_dict, b'{"data":1}', ({"data": 1},)),
    (of_a_dict, b'{"data":{"a":1}}', ({"a": 1},)),
    (of_a_dict, b"{}", ({},)),
    (all_by_default, b"{}", ("o-0", "n")),
    (all_by_default, b'"o-1"', ("o-1", "n")),
    (one_id_and_a_note, b'"o-1"', ("o-1", "n")),
    (several, b'{"a":1}', (1, "x")),
    (several, b"1", (1, "x")),
    (nothing, b"{}", ()),
]


@pytest.mark.parametrize(("fn", "raw", "args"), GIVEN, ids=lambda part: getattr(part, "__name__", str(part)[:30]))
def test_the_bare_parameter_may_be_given_alone(fn: Any, raw: bytes, args: Any) -> None:
    assert args == signature(fn).read_given(raw)[0]


def two(a: int, b: int) -> None: ...


@pytest.mark.parametrize(
    ("fn", "raw", "message"),
    [
        (two, b"1", "arguments of activity 'two': expected object, got int"),
        (one, b'{"order":{"items":5}}', "parameter 'order' of activity 'one' at $.items: expected array, got int"),
        (one, b'{"items":5}', "parameter 'order' of activity 'one' at $.items: expected array, got int"),
        (one_id, b'{"order_id":5}', "parameter 'order_id' of activity 'one_id': expected str, got int"),
        (nothing, b"1", "arguments of activity 'nothing': expected object, got int"),
    ],
)
def test_a_given_call_that_does_not_fit_is_refused(fn: Any, raw: bytes, message: str) -> None:
    with pytest.raises(SerializationError, match=re.escape(message)):
        signature(fn).read_given(raw)
