"""One dict and one list that stay empty. Each run shares them until it has an entry to keep.

A run has a dozen kinds of things to wait for, and most runs wait for one or two. Ten thousand runs would pay for a
hundred thousand empty containers. Reading, removing and clearing work as with any empty container. Code that adds must
first make its own container (`if x is NO_DICT: x = {}`); adding to the shared one raises TypeError.
"""

from __future__ import annotations

from typing import Any, Final, NoReturn

__all__ = ["NO_DICT", "NO_LIST"]


def _refused(_: object, *__: object, **___: object) -> NoReturn:
    raise TypeError("this container is shared and stays empty: make one of your own before adding to it")


class _NoDict(dict[Any, Any]):
    __slots__ = ()
    __setitem__ = setdefault = update = __ior__ = _refused


class _NoList(list[Any]):
    __slots__ = ()
    append = extend = insert = __iadd__ = __setitem__ = _refused


NO_DICT: Final[dict[Any, Any]] = _NoDict()
NO_LIST: Final[list[Any]] = _NoList()
