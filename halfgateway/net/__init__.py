"""Sockets as the data plane needs them."""
