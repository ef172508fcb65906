"""A whole installation on one machine: hosts in network namespaces, built from a topology, then broken on purpose.

`python -m tests.lab` (or `make lab`) needs root. All of it lives in one network, mount and process namespace with a
memory file system of its own: however it ends, also by kill -9, the kernel takes everything away.
"""
