"""The behaviour of the engine: everything a user can see, the same tests for every database."""
