"""A class that passes on changes what it defines, and passes on every other member of its protocol."""

from __future__ import annotations

from typing import Protocol

from romancy.storage.backends import create_store
from romancy.storage.passing import Passing, changed_by
from romancy.storage.protocol import Store
from romancy.storage.services import Services


class Lamp(Protocol):
    @property
    def bright(self) -> bool: ...

    def switch(self) -> str: ...

    def describe(self) -> str: ...


class Bulb:
    bright = False

    def switch(self) -> str:
        self.bright = not self.bright
        return "switched"

    def describe(self) -> str:
        return "a bulb"


class Named(Passing[Lamp], Lamp):
    def __init__(self, lamp: Lamp, name: str) -> None:
        super().__init__(lamp)
        self._name = name

    def describe(self) -> str:
        return f"{self._name}, {self._passed_to.describe()}"


class Loud(Named):
    def switch(self) -> str:
        return self._passed_to.switch().upper()


class DimmedLamp(Lamp, Protocol):
    """The protocol with one more method and one more property."""

    @property
    def level(self) -> int: ...

    def dim(self) -> int: ...


class DimmedBulb(Bulb):
    level = 5

    def dim(self) -> int:
        self.level -= 1
        return self.level


class NamedDimmed(Named, DimmedLamp): ...


def test_what_a_class_defines_is_changed() -> None:
    assert "mine, a bulb" == changed_by(Bulb(), Named, "mine").describe()


def test_what_it_does_not_define_is_the_other_ones_own() -> None:
    bulb = Bulb()

    assert bulb.switch == changed_by(bulb, Named, "mine").switch


def test_a_property_is_read_each_time() -> None:
    bulb = Bulb()
    lamp = changed_by(bulb, Named, "mine")

    assert (False, "switched", True) == (lamp.bright, lamp.switch(), lamp.bright)


def test_a_class_of_a_class_changes_more() -> None:
    bulb = Bulb()
    lamp = changed_by(bulb, Loud, "mine")

    assert ("SWITCHED", "mine, a bulb", True) == (lamp.switch(), lamp.describe(), lamp.bright)


def test_a_member_more_is_passed_on_without_an_edit() -> None:
    bulb = DimmedBulb()
    lamp: DimmedLamp = changed_by(bulb, NamedDimmed, "mine")

    assert (5, 4, 4) == (lamp.level, lamp.dim(), lamp.level)
    assert bulb.dim == lamp.dim
    assert "mine, a bulb" == lamp.describe()


class Closed(Passing[Store], Store):
    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.services: Services = Services()


def test_an_object_may_assign_to_a_property() -> None:
    store = create_store("sqlite:///passing.db")
    closed = changed_by(store, Closed)

    assert frozenset() == closed.services.offered
    assert (store.read, store.claim) == (closed.read, closed.claim)
