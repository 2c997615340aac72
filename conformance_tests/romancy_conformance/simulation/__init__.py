"""Rounds of chaos in simulated time: the same programs, shapes, faults and judge, with the whole cluster in one thread.

`romancy.testing.simulating` has the loops, the clocks and the wire. A slice is one round in a process of its own, which
the same seed repeats exactly.
"""
