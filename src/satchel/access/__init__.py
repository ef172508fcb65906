"""Who may take what offline: the profile an administrator writes, compiled into who is bound to what."""
