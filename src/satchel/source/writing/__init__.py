"""Writing to a source: edit sets become requests, its answers become what was executed."""
