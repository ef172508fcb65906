"""The values that travel between the rooms: no I/O, no clock, no randomness."""
