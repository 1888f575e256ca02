"""Compiled loops of the pass/fail fit: shapes and expectation, minimum, batch of fits."""
