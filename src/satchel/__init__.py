"""Satchel: an organization's business data on the devices of the people who work away from the network."""

__version__ = "0.1.0"
