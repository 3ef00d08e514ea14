"""How fast the program is, and against what: `make bench` measures, `docs/benchmarks` shows the results."""
