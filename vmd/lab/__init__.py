"""Guests inside a test: the pytest plugin, which drives ``plan`` and ``host`` and needs no daemon."""
