"""What an administrator does, as functions that a command or a page calls: one place, no printing."""
