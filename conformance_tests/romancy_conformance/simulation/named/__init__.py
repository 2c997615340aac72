"""Simulated cases with a name in place of a seed: each plays one course of events.

Other engines did not survive it, or random rounds nearly never have it.

    python -m romancy_conformance.simulation --seed dbos-716 [--slices N] [--story FILE]

`catalogue.py` lists them. Chance still decides latencies, clocks and the exact moments, so a case is played several
times, each time another way.
"""
