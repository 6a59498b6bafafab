"""Links: bridges, taps, addresses, routes, neighbours. All in the caller's network namespace, by netlink."""
