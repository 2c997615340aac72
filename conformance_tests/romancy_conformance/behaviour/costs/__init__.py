"""The cost of the engine for a database, counted where the statements arrive: a count does not depend on load."""
