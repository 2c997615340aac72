"""Random workflow programs under random faults, compared with a ledger and with a run without faults.

A program is a tree made from a seed (`programs`). The same interpreter (`interpreting`) runs it twice: as a workflow in
worker processes that are killed, frozen and drained, and without durability or faults on a loop with its own clock
(`oracle`). Every program has one legal outcome: a rendezvous, a lock, or two delays that lie far apart order its
operations. Activities write their effects in sessions to a table (`ledger`). The judge compares.

    python -m romancy_conformance.chaos --backend postgres --seed last1 --rounds 10
"""
