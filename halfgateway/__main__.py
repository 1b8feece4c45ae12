"""``python -m halfgateway``."""

from halfgateway.cli import main

main()
