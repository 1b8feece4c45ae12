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


def log_to_stderr(level: str) -> None:
    """Log to stderr from this level on, a line each, with its instant."""
    logging.basicConfig(
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S%z",
    )
    set_level(level)
