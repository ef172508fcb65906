"""Is everything well? What `satchel doctor` prints, and what the metrics and logs tell all the time."""
