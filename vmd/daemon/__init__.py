"""KEEPS guests as they are defined: the one place where plan meets host."""
