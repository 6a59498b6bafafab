"""The bench: what vmd costs, beside QEMU started by hand and beside libvirt, all in one run.

Nothing here is a test and nothing is asserted: ``python -m tests.bench`` prints a table and writes JSON.
"""
