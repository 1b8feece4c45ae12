"""What a node logs of itself, and of the libraries it stands on."""

from __future__ import annotations

import logging

OUR_PACKAGES = ("halfgateway", "camera_registry", "auth", "ops")


def set_level(level: str) -> None:
    """Log from this level on, ``debug`` to ``error``.

    ``debug`` is for our own packages alone: a library at DEBUG would print what it is given, secrets included (C16).
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    logging.getLogger().setLevel(max(logging.INFO, number))
    for package in OUR_PACKAGES:
        logging.getLogger(package).setLevel(number)
