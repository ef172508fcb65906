"""The wire between sync server and device: version 1. Nothing else knows it."""
