"""The large-scale study: many models of a grid, in shards, as a table."""
