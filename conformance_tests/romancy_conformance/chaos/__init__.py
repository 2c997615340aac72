"""Random workflow programs under random faults, held against a ledger and against a run without faults.

A program is a tree made from a seed (`programs`). The same interpreter (`interpreting`) runs it as a workflow in
worker processes that are killed, frozen and drained, and without durability or faults on a loop with a clock of its
own (`oracle`). Every program has one legal outcome: what orders two things in it is a rendezvous, a lock, or two
delays that lie far apart. What activities do is written in sessions to a table (`ledger`). The judge compares.

    python -m romancy_conformance.chaos --backend postgres --seed last1 --rounds 10
"""
