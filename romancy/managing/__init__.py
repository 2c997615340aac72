"""Instances from outside: reading, searching, acting on one and on many."""
