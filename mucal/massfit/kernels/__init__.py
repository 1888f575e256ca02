"""Compiled loops of the batch of mass fits: `models` below `scoring` below `rows`."""
