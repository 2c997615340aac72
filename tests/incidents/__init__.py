"""Incidents of an operator: each is found by clicks and commands that a page of the guide names."""
