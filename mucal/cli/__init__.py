"""One thin command per stage."""
