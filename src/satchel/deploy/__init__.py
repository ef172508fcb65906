"""Deployment: one topology becomes the files of every host. Pure; `cli/deploy.py` reads and writes them."""
