"""The organization's current copy: one typed table per entity, and how far each was read."""
