"""The benchmarks. Each program prints a table with the floor, to compare with."""
