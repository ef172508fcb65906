"""Who may take what offline: the profile an administrator writes, compiled into what is staged and who is bound to it."""
