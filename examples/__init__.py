"""Programs to read and to run; `make demo` runs one of them."""
