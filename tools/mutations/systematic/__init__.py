"""Systematic mutations: every predicate, comparison, order, limit, lock and guard of what the adapters send is tried.

`mutants` changes one text at one place, and knows no adapter. `statements` lists the texts of an adapter as they are
sent. `seam` puts a changed text in the place of the right one while a test runs. `prober` is the pytest plugin of a
process that tries mutants with the contract, `probing` starts these processes and collects what they found, and
`equivalents` names the mutants that change nothing, and `survivors` those that no test notices so far. `reporting` is
the command, and `branch` finds the commit that a branch is compared with.
"""
