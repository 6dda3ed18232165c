"""One file per instrument, one contract (see `contract`)."""
