"""`make test-quick`: the tests that need the changed functions, in less than a minute.

A map says which tests enter which functions. It is recorded once, on the memory store, into `.cache/quick`. The
[decision](../../docs/decisions/archive/0088-which-tests-a-change-needs.md) says why it is made in this way.
"""
