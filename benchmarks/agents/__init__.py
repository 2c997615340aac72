"""An agent of pydantic-ai, run by the adapter of each library."""
