"""The crash matrix: real workers killed by SIGKILL at every write point of every workflow of the family.

    python -m romancy_conformance.behaviour.crashes URL [--full] [--only NAME …]

Nothing is simulated except the speed of the workflows' own clocks. Activities write each execution to a file outside
the database, and the transactional ones also insert a row into a user's table. The log, the file and the table must
agree at the end, however often the worker died.
"""
