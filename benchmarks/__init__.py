"""Measurements: each module is a script, its results are in results/."""
