"""Benchmarks: `python3 run.py bench NAME --json FILE`."""
