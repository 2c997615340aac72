"""The crash matrix: real workers killed by SIGKILL at every write point of every workflow of the family.

    python -m romancy_conformance.behaviour.crashes URL [--full] [--only NAME …]

Nothing is simulated but the speed of the workflows' own clocks. Activities note each execution in a file outside of
the database, and the transactional ones also insert a row in a table of the user's; the log, the file and the table
must agree in the end, however often the worker died.
"""
