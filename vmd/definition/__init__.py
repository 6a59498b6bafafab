"""WHAT the operator wrote. Pure: no clock, no file system, no subprocess."""
