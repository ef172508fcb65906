"""Reading and writing rows, as one who may."""
