"""Going back to an earlier point of an instance."""
