"""``make bench``: what the relay costs, as a table and as ``bench.json``."""
