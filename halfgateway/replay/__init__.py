"""Recorded streams (*Temps différé*): footage of SYN's recorders, found and played; the gateway keeps none.

Each kind of recorder fills the ports of :mod:`halfgateway.replay.footage`.
"""
