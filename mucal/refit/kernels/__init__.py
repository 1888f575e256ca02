"""Compiled loops of the refit: `rows` linearises a track, `marginal` and `states` solve it, `fit` iterates."""
