"""Compiled navigation: `helix` is the geometry of one track, `crossings` looks up and tests what it meets."""
