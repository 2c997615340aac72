"""The words of scripts for columns that are said once."""

from __future__ import annotations

import pytest

from romancy.storage.columns import GIVEN, given, spelled
from romancy.storage.records import Create, InstanceRow

NAMES = list(GIVEN)


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("{given}", ", ".join(NAMES)),
        ("{given :}", ", ".join(f":{name}" for name in NAMES)),
        ("{given column9}", ", ".join(f"column{number}" for number in range(9, 9 + len(NAMES)))),
        ("{given $9}", ", ".join(f"${9 + at}::{kind}[]" for at, kind in enumerate(GIVEN.values()))),
        ("{given $9+}", ", ".join(f"${9 + len(NAMES) + at}::{kind}[]" for at, kind in enumerate(GIVEN.values()))),
        ("{instance}", ", ".join(InstanceRow.__struct_fields__)),
        ("{instance i}", ", ".join(f"i.{name}" for name in InstanceRow.__struct_fields__)),
        ("{ahead}", "3600000000"),
        ("{rows} {columns}", "{rows} {columns}"),
    ],
)
def test_a_word_is_replaced_by_its_columns(word: str, written: str) -> None:
    assert spelled(f"insert ({word}) values") == f"insert ({written}) values"


def test_a_given_column_is_a_field_of_a_new_instance_and_of_its_row() -> None:
    create = Create(workflow_name="flow", code="c1", input=b"1")

    assert [getattr(create, name) for name in NAMES] == list(given(create))
    assert set(NAMES) <= set(InstanceRow.__struct_fields__)
    assert None not in given(create), "an adapter binds it without a word for null"
