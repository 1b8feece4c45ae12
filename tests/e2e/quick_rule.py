"""``halfgateway serve``, but that PP's idle rule counts thirty times as fast: no test waits for half a minute."""

from __future__ import annotations

import sys
from pathlib import Path
from unittest.mock import patch

from halfgateway.cli.node import serve
from halfgateway.config_terms import IdleRuleSection
from halfgateway.control.terms import IdleRule


def record(section: IdleRuleSection) -> IdleRule:
    """The rule as the door reads it."""
    return IdleRule(section.after_s / 30, section.reference)


if __name__ == "__main__":
    with patch.object(IdleRuleSection, "record", record):
        serve(Path(sys.argv[1]), attendants=False, as_json=True)
