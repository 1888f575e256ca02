"""Compiled propagation: steps, crossings, losses, and the loop over the legs of a track."""
