"""Deploying: new code beside open instances, checks before it, and names that are declared twice."""
