"""Options of a URL: an error names the option, its value and its valid values, and never the password."""

from __future__ import annotations

import pytest

from romancy.errors import StorageConfigurationError
from romancy.storage.sqlkit.options import Options
from romancy.storage.url import parse_url

DEFAULTS = {"size": "10", "mode": "full"}


def options(query: str = "") -> Options:
    return Options(parse_url(f"postgresql://me:s3cret@db/orders?{query}"), DEFAULTS)


def test_what_the_url_leaves_out_has_its_default() -> None:
    assert (10.0, "full", "10") == (options().number("size"), options().choice("mode", ("full",)), options()["size"])


@pytest.mark.parametrize("value", ["", "many", "nan", "inf", "-1", "0.01", "1001"])
def test_a_number_out_of_bounds_is_refused(value: str) -> None:
    with pytest.raises(StorageConfigurationError) as caught:
        options(f"size={value}").number("size", 1, 1000)

    assert str(caught.value) == (
        f"storage URL postgresql://me:***@db/orders: size={value!r} is not a number from 1 to 1,000"
    )


def test_an_unknown_word_is_refused() -> None:
    with pytest.raises(StorageConfigurationError, match="mode='half' is not one of full, relaxed"):
        options("mode=half").choice("mode", ("full", "relaxed"))


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(StorageConfigurationError, match="unknown option 'sise'; known are mode, size"):
        options("sise=3")
