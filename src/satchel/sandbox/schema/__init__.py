"""The entities of the sample organization and their attributes."""
