"""The command line on every database."""
