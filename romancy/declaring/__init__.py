"""What the decorators make of functions: their checks, compensations, undos and fingerprints."""
