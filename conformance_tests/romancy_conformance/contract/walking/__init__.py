"""A random walk over the whole contract of a store, each answer compared with a model that is its specification."""
