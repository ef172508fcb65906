"""Copying a whole database: what it is made of, its rows elsewhere, and the fence around the old one."""
