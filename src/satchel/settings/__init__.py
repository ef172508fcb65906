"""Settings: one frozen tree; file < environment < flag."""
