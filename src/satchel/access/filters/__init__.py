"""Custom filters: text, syntax tree, typed condition. Pure."""
