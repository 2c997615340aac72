"""The behaviour of the engine: everything a user can see, with the same tests for every database."""
