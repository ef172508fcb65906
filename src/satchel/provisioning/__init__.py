"""Organizations, their databases, their recurring work and their devices: Satchel's own configuration."""
