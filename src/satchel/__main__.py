"""`python -m satchel`."""

from satchel.cli.main import main

main()
