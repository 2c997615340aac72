"""Code versions: they change with everything that a replay depends on, and with nothing else."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import types
from typing import TYPE_CHECKING, Any, Final

import pytest

from romancy import Workflow, WorkflowContext, workflow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHOP: Final = """
from __future__ import annotations

import enum
import functools
from dataclasses import dataclass, field
from datetime import timedelta

from romancy import EventType, RetryPolicy, WorkflowContext, activity, compensation, workflow

LIMIT = 3
STEPS = ["pick", "pack"]
PAUSE = timedelta(hours=1)
seen = []
counted = 0

class Kind(enum.Enum):
    SMALL = "small"
    LARGE = "large"

class Named:
    prefix = "item"

    def label(self) -> str:
        return self.prefix

@dataclass(frozen=True)
class Price:
    cents: int
    currency: str = "EUR"

@dataclass
class Order(Named):
    item: str
    price: Price
    tags: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return self.label() + self.item

    @staticmethod
    def parse(text: str) -> str:
        return text

LOWEST = Price(100)
PAID = EventType("paid", Price)

@compensation
async def put_back(item: str, times: int) -> None:
    seen.append("back")

@activity(compensation=put_back, retry=RetryPolicy.fixed(3, 1.0), raises=[KeyError])
async def take(item: str, times: int) -> None:
    seen.append("taken")

@activity
async def ask(item: str, count: int = 1) -> Price:
    seen.append("asked")
    return Price(1)

def doubled(number: int) -> int:
    return 2 * number

def again(fn):
    @functools.wraps(fn)
    def wrapped(*args):
        return fn(*args)
    return wrapped

@again
def tripled(number: int) -> int:
    return 3 * number

half = functools.partial(doubled, 4)

def deep(number: int) -> int:
    return number if number else doubled(number)

@workflow
async def packing(ctx: WorkflowContext, parcel: str) -> int:
    seen.append("packed")
    return 1

@workflow
async def selling(ctx: WorkflowContext, order: Order) -> int:
    seen.append(order)
    for step in STEPS[:LIMIT]:
        await take(order.text + Order.parse(step), 1)
        await ask("price")
    await ctx.sleep(PAUSE)
    await ctx.wait_event(PAID)
    if Kind.SMALL in (1, 2) and LOWEST:
        return deep(1) + tripled(2) + half()
    return await packing("parcel") if counted in {"a", "b", "c", "d", "e"} else 0
"""

numbers = itertools.count()


@pytest.fixture(autouse=True)
def modules() -> Iterator[None]:
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("shop_"):
            del sys.modules[name]


def made(source: str, name: str = "selling") -> Workflow[..., Any]:
    """Return the workflow of a module with this text."""
    module = types.ModuleType(f"shop_{next(numbers)}")
    sys.modules[module.__name__] = module
    exec(compile(source, module.__name__, "exec"), vars(module))  # noqa: S102 - a module that is no file
    found: Workflow[..., Any] = vars(module)[name]
    return found


def changed(old: str, new: str, *, name: str = "selling") -> bool:
    """Whether this change of the module changes the version."""
    assert SHOP.count(old) == 1, old
    return made(SHOP, name).code != made(SHOP.replace(old, new), name).code


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    await ctx.sleep(PAUSE)", "    await ctx.sleep(2 * PAUSE)"),
        ("return 2 * number", "return 4 * number"),
        ("return 3 * number", "return 5 * number"),
        ("        return fn(*args)", "        return -fn(*args)"),
        ("partial(doubled, 4)", "partial(doubled, 5)"),
        ("LIMIT = 3", "LIMIT = 2"),
        ('["pick", "pack"]', '["pack", "pick"]'),
        ("hours=1", "hours=2"),
        ("Price(100)", "Price(200)"),
        ('SMALL = "small"', 'SMALL = "tiny"'),
        ('prefix = "item"', 'prefix = "thing"'),
        ("return self.prefix", "return self.prefix.upper()"),
        ("return self.label() + self.item", "return self.item + self.label()"),
        ("        return text", "        return text.strip()"),
        ("cents: int", "cents: float"),
        ('currency: str = "EUR"', 'currency: str = "USD"'),
        ("default_factory=list", "default_factory=lambda: ['new']"),
        ("class Order(Named)", "class Order(Named, dict)"),
        ('EventType("paid", Price)', 'EventType("paid", Order)'),
        ('EventType("paid", Price)', 'EventType("settled", Price)'),
        ("count: int = 1) -> Price", "count: int = 2) -> Price"),
        ("count: int = 1) -> Price", "number: int = 1) -> Price"),
        ("count: int = 1) -> Price", "count: int = 1) -> Order"),
        ("compensation=put_back, ", ""),
        ("raises=[KeyError]", "raises=[IndexError]"),
        ("parcel: str) -> int", "parcel: int) -> int"),
        ("def doubled(", "class SoldOut(Exception):\n    pass\n\ndef doubled("),
    ],
)  # fmt: skip
def test_what_a_replay_depends_on_makes_another_version(old: str, new: str) -> None:
    assert changed(old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('    seen.append("asked")\n    return Price(1)', "    return Price(2)"),
        ('    seen.append("taken")', "    pass"),
        ('    seen.append("back")', "    pass"),
        ('    seen.append("packed")\n    return 1', "    return 2"),
        ("RetryPolicy.fixed(3, 1.0)", "RetryPolicy.fixed(9, 5.0)"),
        ("seen = []", "seen = ['something']"),
        ("counted = 0", "counted = 7"),
        ("LIMIT = 3\n", "# A comment, and other lines.\n\n\nLIMIT = 3\nUNUSED = 9\n"),
        ("def doubled(", "def unused():\n    return 1\n\ndef doubled("),
    ],
)
def test_what_it_does_not_depend_on_makes_none(old: str, new: str) -> None:
    assert not changed(old, new)


def test_the_order_of_a_set_does_not_matter() -> None:
    assert not changed('{"a", "b", "c", "d", "e"}', '{"e", "d", "c", "b", "a"}')


def test_the_name_of_the_module_does_not_matter() -> None:
    """A script is `__main__` when it is run, and has its own name when it is imported."""
    assert made(SHOP).fn.__module__ != made(SHOP).fn.__module__
    assert made(SHOP).code == made(SHOP).code


def test_a_module_of_ones_own_is_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def with_rule(text: str) -> str:
        rules = types.ModuleType("shop_rules")
        exec(text, vars(rules))  # noqa: S102 - a module that is no file
        sys.modules["shop_rules"] = rules
        return made(
            "import shop_rules\nfrom romancy import WorkflowContext, workflow\n"
            "@workflow\nasync def selling(ctx: WorkflowContext) -> int:\n    return shop_rules.price(shop_rules.BASE)\n"
        ).code

    rule = "BASE = 1\ndef price(base): return base + 1\ndef other(): return 0\n"

    assert with_rule(rule) == with_rule(rule.replace("return 0", "return 1"))
    assert with_rule(rule) != with_rule(rule.replace("+ 1", "+ 2"))
    assert with_rule(rule) != with_rule(rule.replace("BASE = 1", "BASE = 2"))


def test_closures_count() -> None:
    def selling_at(price: int, rule: Any) -> Workflow[..., Any]:
        @workflow(name="selling")
        async def selling(ctx: WorkflowContext) -> int:
            return int(rule(price))

        return selling

    def same(price: int) -> int:
        return price

    def double(price: int) -> int:
        return price * 2

    assert selling_at(1, same).code == selling_at(1, same).code
    assert 3 == len({selling_at(1, same).code, selling_at(2, same).code, selling_at(1, double).code})


def test_a_version_of_ones_own_wins() -> None:
    source = SHOP.replace("@workflow\nasync def selling", '@workflow(version="7")\nasync def selling')

    assert ("7", "7") == (made(source).code, made(source.replace("LIMIT = 3", "LIMIT = 4")).code)


def test_it_is_made_once_and_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    made_for: list[object] = []

    def counting(thing: Any) -> str:
        made_for.append(thing)
        return "0" * 16

    monkeypatch.setattr(sys.modules["romancy.workflow"], "fingerprint", counting)
    wf = made(SHOP)
    assert [] == made_for

    versions = {wf.options(instance_id="one").code, wf.options(instance_id="two").code, wf.code}

    assert ({"0" * 16}, 1) == (versions, len(made_for))


ODD: Final = """
import builtins, re, sys, threading, types
from unittest import mock
import msgspec
from romancy import WorkflowContext, activity, workflow

class Raising:
    def __getattr__(self, name):
        raise RuntimeError(name)
    def __eq__(self, other):
        raise RuntimeError("eq")
    __hash__ = None
    @property
    def __class__(self):
        raise RuntimeError("class")
    @property
    def __dict__(self):
        raise RuntimeError("dict")
    def __repr__(self):
        raise RuntimeError("repr")

class Meta(type):
    def __getattr__(cls, name):
        raise RuntimeError(name)

class Shy(metaclass=Meta):
    others: "Raising | Missing | list[Shy]"

class Lazy(types.ModuleType):
    def __getattr__(self, name):
        raise RuntimeError(name)

class Record(msgspec.Struct):
    number: int = 3

RAISING, MOCK, LOCK, LAZY = Raising(), mock.MagicMock(spec=Record), threading.Lock(), Lazy("lazy")
LOOP = []
LOOP.append(LOOP)
LARGE = list(range(200_000))
DEEP = ()
for _ in range(1000):
    DEEP = (DEEP,)
PATTERN, C, GONE = re.compile("x" * 300), builtins.len, types.SimpleNamespace(a=1)

def one(): return two()
def two(): return one()

@activity
async def step(first: "Record") -> "Record": return first

def odd(ctx, things: mock.MagicMock() = RAISING):
    def never():
        return later
    asked = RAISING, MOCK, LOCK, LAZY.name, LOOP, DEEP, LARGE, PATTERN, C, GONE, Shy, one, step, never, Raising.mro
    later = 1
    return asked

@workflow
async def selling(ctx: WorkflowContext, record: Record) -> int:
    return odd(ctx) is None
"""


def test_odd_objects_do_no_harm() -> None:
    assert made(ODD).code == made(ODD).code
    assert made(ODD).code != made(ODD.replace("def two(): return one()", "def two(): return 1 + one()")).code
    assert made(ODD).code != made(ODD.replace("number: int = 3", "number: int = 4")).code
    assert made(ODD).code != made(ODD.replace('"x" * 300', '"x" * 299 + "y"')).code


def test_it_is_the_same_in_every_process() -> None:
    program = (
        "import sys; sys.path[:0] = sys.argv[1:]; import tests.authoring.test_fingerprint as t; "
        "print(t.made(t.SHOP).code, t.made(t.ODD).code)"
    )

    def elsewhere(seed: str) -> list[str]:
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", program, *filter(None, sys.path)]
        done = subprocess.run(command, env=environment, check=True, capture_output=True)
        return done.stdout.decode().split()

    here = [made(SHOP).code, made(ODD).code]

    assert here == elsewhere("1") == elsewhere("4711")
