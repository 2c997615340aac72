"""Finds the types that annotations name: at module level, around a local function, or in local classes.

Annotations are evaluated when a type is first needed, not when the function is defined. The types that the surrounding
functions named must therefore be remembered at the definition. Only types are kept, no other local values.
"""

from __future__ import annotations

import inspect
import sys
import types
import typing
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, get_origin

from romancy.errors import RegistrationError
from romancy.serialization._plan import UnknownTypeError, plan_for
from romancy.serialization._untyped import UntypedPlan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from romancy.serialization._plan import Plan
    from romancy.serialization._value_at_fault import Where

_DEEPEST_DECORATOR: Final = 30


class TypesOf:
    """The types in one function's annotations. Create it while the function is being decorated."""

    def __init__(self, fn: Callable[..., object]) -> None:
        self._fn = fn
        self._around = names_around(fn)

    def plan(self, name: str, where: Where) -> Plan:
        """The plan for a parameter, or for `return`. A parameter without an annotation is plain JSON.

        Raises RegistrationError if the type cannot be found or has no JSON form.
        """
        if name not in raw_annotations(self._fn):
            return UntypedPlan("-> {}" if name == "return" else f"{name}: {{}}")
        declared, names = self._declared(name, where)
        _settle_local_classes(names)
        return plan_for(declared, where)

    def declared(self, name: str, where: Where) -> Any:
        """The declared type of a parameter. Raises as `plan` does if the type cannot be found."""
        return self._declared(name, where)[0]

    def _declared(self, name: str, where: Where) -> tuple[Any, Mapping[str, Any]]:
        """The declared type, and the names that its annotation may refer to."""
        annotation = raw_annotations(self._fn).get(name, Any)
        names = {**self._around, **_names_used_in(self._fn)}
        try:
            return _evaluate(annotation, self._fn, names), names
        except (NameError, AttributeError, ImportError) as error:
            raise UnknownTypeError(
                f"the type of the {where} cannot be found: {error}; import it outside `if TYPE_CHECKING`, "
                "and define it before the function"
            ) from None
        except Exception as error:
            raise RegistrationError(f"the annotation of the {where} cannot be evaluated: {error}") from error


def names_around(fn: Callable[..., object]) -> dict[str, Any]:
    """The types that the functions and classes around `fn` have named so far.

    Call it while `fn` is being decorated: it looks for the frame in which `fn` was just defined.
    """
    if "." not in fn.__qualname__:
        return {}
    names: dict[str, Any] = {}
    code: types.CodeType | None = getattr(fn, "__code__", None)
    for frame in _callers():
        if code is not None and _defines(frame.f_code, code):
            if frame.f_locals is frame.f_globals:
                break
            names = {name: value for name, value in frame.f_locals.items() if _names_a_type(value)} | names
            code = frame.f_code
    return names


def _defines(outer: types.CodeType, code: types.CodeType) -> bool:
    """Whether `code` is that of a function, or of a method of a class, which is defined in the `outer` code."""
    inner = [constant for constant in outer.co_consts if isinstance(constant, types.CodeType)]
    return any(one is code or any(each is code for each in one.co_consts) for one in inner)


def _callers() -> Iterator[types.FrameType]:
    frame = inspect.currentframe()
    for _ in range(_DEEPEST_DECORATOR):
        if frame is None:
            return
        yield frame
        frame = frame.f_back


def _names_a_type(value: object) -> bool:
    return (
        isinstance(value, type | types.ModuleType | types.UnionType | typing.NewType | typing.TypeVar)
        or get_origin(value) is not None
        or type(value).__name__ == "TypeAliasType"
    )


def raw_annotations(fn: Callable[..., object]) -> dict[str, Any]:
    """The annotations as written, strings included. Nothing is evaluated that could fail."""
    if sys.version_info >= (3, 14):
        import annotationlib  # noqa: PLC0415 (there is no such module before 3.14)

        return annotationlib.get_annotations(fn, format=annotationlib.Format.FORWARDREF)
    return inspect.get_annotations(fn)


def signature_of(fn: Callable[..., object]) -> inspect.Signature:
    """Names, kinds and defaults. Do not use the annotations in it."""
    if sys.version_info >= (3, 14):
        import annotationlib  # noqa: PLC0415 (there is no such module before 3.14)

        return inspect.signature(fn, annotation_format=annotationlib.Format.FORWARDREF)
    return inspect.signature(fn)


def _evaluate(annotation: Any, fn: Callable[..., object], names: Mapping[str, Any]) -> Any:
    holder = SimpleNamespace(__annotations__={"it": annotation})
    own = {parameter.__name__: parameter for parameter in getattr(fn, "__type_params__", ())}
    around = getattr(fn, "__globals__", {})
    return typing.get_type_hints(holder, around, {**names, **own}, include_extras=True)["it"]


def _names_used_in(fn: Callable[..., object]) -> dict[str, Any]:
    """The types that the function's own code refers to outside of itself, as they are now."""
    code, cells = getattr(fn, "__code__", None), getattr(fn, "__closure__", None)
    if code is None or cells is None:
        return {}
    found: dict[str, Any] = {}
    for name, cell in zip(code.co_freevars, cells, strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    return {name: value for name, value in found.items() if _names_a_type(value)}


def _settle_local_classes(names: Mapping[str, Any]) -> None:
    """Replace names by types in the annotations of local classes.

    msgspec looks names up only in the class's module, which does not hold the neighbours of a local class.
    """
    for cls in names.values():
        if not isinstance(cls, type) or "<locals>" not in cls.__qualname__:
            continue
        try:
            hints = typing.get_type_hints(cls, localns=dict(names), include_extras=True)
            own = {name: hints.get(name, annotation) for name, annotation in inspect.get_annotations(cls).items()}
        except (NameError, TypeError):  # msgspec will name the missing type
            continue
        cls.__annotations__ = own
