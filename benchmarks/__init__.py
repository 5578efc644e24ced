"""Benchmarks: each module is a script that writes its results to results/. See README.md in this folder."""
