"""The contract under fire: real processes on real servers, killed, frozen, disconnected and in competition.

Each process talks only to its store, and writes what the store acknowledged to a file that survives the process. The
test then compares the database with the files of all processes. No verdict depends on timing: the machine decides when
things happen, and the test judges only what is left in the database.
"""
