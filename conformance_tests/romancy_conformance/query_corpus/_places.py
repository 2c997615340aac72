"""Paths: nesting, arrays, odd names, names that look like keys, roots other than objects, and the limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.storage.query import contains, gt, is_null, lt, missing, ne, one_of, startswith
from romancy_conformance.query_corpus._case import by_filters, by_value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from romancy_conformance.query_corpus._case import Case


__all__ = ["limits", "look_alikes", "names", "nesting", "roots"]


_ORDER = """
{"order": {"id": "o-1", "status": "pending", "total": 99.5, "paid": false, "coupon": null,
           "items": [{"sku": "A 1", "qty": 2}, {"sku": "B", "qty": 10, "tags": ["new", 7]}]},
 "customer": {"first_name": "Jos\u00e9", "Id": 1, "id": 2, "ID": 3}, "0": "zero", "01": "zero one", "-1": "minus"}
"""


def nesting() -> Iterator[Case]:
    yield from by_filters(
        "nested",
        _ORDER,
        [
            {},
            {"order.status": "pending"},
            {"order.status": "pending", "order.total": 99.5},
            {"order.status": "pending", "order.paid": False, "customer.id": 2, "order.coupon": None},
            {"order.total": gt(50) & lt(100)},
            {"order.items.0.sku": "A 1"},
            {"order.items.1.qty": gt(9)},
            {"order.items.1.tags.0": "new"},
            {"order.items.1.tags.1": 7},
            {"order.items.2": missing()},
            {"order.items.1.tags.2.x": None},
            {"order.items": ne(None)},
            {"customer.first_name": "Jos\u00e9"},
            {"customer.id": 2, "customer.Id": 1, "customer.ID": 3},
            {"0": "zero"},
            {'["0"]': "zero"},
            {'["01"]': "zero one"},
            {'["-1"]': "minus"},
            {'["order"]["status"]': "pending"},
            {'order["status"]': "pending"},
            {'order.["status"]': "pending"},
            {r'["\u006frder"].status': "pending"},
            {'order.items["0"].sku': "A 1"},
        ],
        [
            {"order.status": "shipped"},
            {"order.status": "pending", "order.total": 99},
            {"order.status": "pending", "nothing": "x"},
            {"order": "pending"},
            {"order": None},
            {"Order.status": "pending"},
            {"order.items.0": None},
            {"order.items.00x": "A 1"},
            {"order.items.sku": "A 1"},
            {"order.items.2.sku": "A 1"},
            {"order.items.1.sku": "A 1"},
            {"order.items.0.sku.0": "A"},
            {'order.items["-1"].sku': "B"},
            {'order.items["01"].sku': "B"},
            {"customer.iD": 3},
            {"status": "pending"},
            {'["order.status"]': "pending"},
        ],
    )


def names() -> Iterator[Case]:
    yield from by_filters(
        "names",
        r'{"a.b":1,"a":{"b":2,"":3},"a\"b":4,"":5,"a b":6,"$":7,"a\\b":8,"a\u0000":9,"caf\u00e9":10,"cafe\u0301":11}',
        [
            {'["a.b"]': 1},
            {"a.b": 2},
            {'a[""]': 3},
            {r'["a\"b"]': 4},
            {'[""]': 5},
            {'["a b"]': 6},
            {'["$"]': 7},
            {r'["a\\b"]': 8},
            {r'["a\u0000"]': 9},
            {"caf\u00e9": 10},
            {'["cafe\u0301"]': 11},
            {"cafe": missing()},
            {"null": missing()},
            {'["*"]': missing()},
            {'["$[*]"]': missing()},
            {"[\"a' OR '1'='1\"]": missing()},
            {'["{a,b}"]': missing()},
            {'["a\\")) OR 1=1 --"]': missing()},
        ],
        [
            {"a.b": 1},
            {'["a.b"]': 2},
            {'["A.b"]': 1},
            {"a": 9},
            {"caf\u00e9": 11},
            {'["cafe\u0301"]': 10},
            {'["*"]': ne(None)},
            {'["a%"]': 6},
        ],
    )


def look_alikes() -> Iterator[Case]:
    yield from by_filters(
        "names that look like keys",
        '{"a__b":1,"a":{"b":2},"_":3,"__":4,"_z":5,"":6,"a_5fb":7,"a_b":8,"A":9,"_41":10,"null":11,"-":12,"\u0664":13}',
        [
            {"a__b": 1},
            {"a.b": 2},
            {"_": 3},
            {"__": 4},
            {"_z": 5},
            {'[""]': 6},
            {"a_5fb": 7},
            {"a_b": 8},
            {"A": 9},
            {"_41": 10},
            {"null": 11},
            {"-": 12},
            {'["\u0664"]': 13},
        ],
        [{"a__b": 2}, {"a.b": 1}, {'[""]': 5}, {"a_b": 7}, {"A": 10}, {"_41": 9}, {'["_z"]': 6}],
    )
    yield from by_filters(
        "arrays and objects with numbers for names",
        '{"list":["x","y"],"map":{"0":"x","1":"y","01":"z"},"12":{"345":true}}',
        [
            {"list.0": "x"},
            {"map.0": "x"},
            {"list.1": "y"},
            {"map.1": "y"},
            {'map["01"]': "z"},
            {"12.345": True},
            {'list["1"]': "y"},
        ],
        [
            {"list.2": "x"},
            {'list["01"]': "y"},
            {'list["+1"]': "y"},
            {'list["1.0"]': "y"},
            {"list.10": "y"},
            {"12.3456": True},
        ],
    )
    yield from by_filters("the same name twice", '{"a":1,"a":2,"a":3}', [{"a": 3}], [{"a": 1}, {"a": 2}])


def roots() -> Iterator[Case]:
    yield from by_filters(
        "root list", '[{"sku":"A"},5]', [{"0.sku": "A"}, {"1": 5}, {"2": None}], [{"sku": "A"}, {"0": "A"}]
    )
    for root in ('"pending"', "5", "true", "null", "[]", "{}"):
        yield from by_filters(
            f"root {root}",
            root,
            [{}, {"a": None}, {"0": missing()}],
            [{"a": "pending"}, {"a": ne("x")}, {"0": is_null()}],
        )


def limits() -> Iterator[Case]:
    longest, longer = "x" * 512, "x" * 513
    yield from by_value(
        "longest string",
        f'"{longest}"',
        [longest, startswith("x"), contains("xx"), gt("x"), ne(longer)],
        [longer, longest[:-1]],
    )
    yield from by_value(
        "long string",
        f'"{longer}"',
        [longer, ne(longest), one_of(longer), ne(None)],
        [longest, longer[:-1] + "y", startswith("x"), contains("x"), gt("a"), lt("z"), ne(longer), None],
    )
    yield from by_value(
        "long by its bytes", '"' + "\u00e9" * 257 + '"', ["\u00e9" * 257], [contains("\u00e9"), gt("a")]
    )
    yield from by_value(
        "longest by its bytes", '"' + "\u00e9" * 256 + '"', ["\u00e9" * 256, contains("\u00e9"), gt("a")], ["e" * 256]
    )
    yield from by_value(
        "longer than an index column",
        '"' + "y" * 300 + '"',
        ["y" * 300, gt("y" * 299), lt("y" * 301), startswith("y" * 290)],
        ["y" * 299, "y" * 301, lt("y" * 299)],
    )
    deep = '{"a":' * 32 + '"bottom"' + "}" * 32
    yield from by_filters(
        "as deep as it goes",
        deep,
        [{".".join("a" * 32): "bottom"}, {".".join("a" * 31): ne(None)}],
        [{".".join("a" * 31): "bottom"}],
    )
    deeper = '{"a":' * 33 + '"bottom"' + "}" * 33
    yield from by_filters(
        "deeper",
        deeper,
        [{".".join("a" * 32): ne(None)}],
        [{".".join("a" * 32): "bottom"}, {".".join("a" * 32): missing()}],
    )
    deepest = '{"v":1,"a":' + "[" * 100 + "]" * 100 + "}"
    yield from by_filters("much deeper", deepest, [{"v": 1}], [{"v": 2}])
    too_large = '{"v":1,"n":null,"filling":[' + ",".join(["123456"] * 5000) + "]}"
    yield from by_filters(
        "not searchable",
        too_large,
        [{}],
        [
            {"v": 1},
            {"n": None},
            {"n": is_null()},
            {"x": None},
            {"x": missing()},
            {"v": ne(2)},
            {"filling.0": 123456},
            {"v": one_of(None, 1)},
        ],
    )
