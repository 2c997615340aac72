"""The truth table of the query language: documents, filters, and whether each filter finds the document.

Every expectation here is written by hand. `finds` lists filters that find the document, `skips` filters that do not;
`REFUSED` lists filters that raise `QueryError` before any database is asked. A store passes when it finds exactly these
documents. Documents and filters can also be combined freely, with `romancy.storage.query.matches` as the reference.
"""

from __future__ import annotations

from romancy_conformance.query_corpus import _places, _scalars, _texts
from romancy_conformance.query_corpus._case import Case
from romancy_conformance.query_corpus._refused import REFUSED

__all__ = ["CASES", "DOCUMENTS", "REFUSED", "Case"]

CASES: tuple[Case, ...] = tuple(
    case
    for group in (
        _texts.strings,
        _texts.unicode,
        _texts.punctuation,
        _texts.order_of_strings,
        _scalars.numbers,
        _scalars.large_numbers,
        _scalars.booleans_and_null,
        _scalars.containers,
        _scalars.stored_forms,
        _places.nesting,
        _places.names,
        _places.look_alikes,
        _places.roots,
        _places.limits,
    )
    for case in group()
)

DOCUMENTS: tuple[bytes, ...] = tuple(dict.fromkeys(case.document for case in CASES))
