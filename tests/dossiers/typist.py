"""Types commands into one process of its own: a PKCS#11 module reads its configuration once in a process's life."""

from __future__ import annotations

import json
import sys

from typer.testing import CliRunner

from halfgateway.cli import build


def main() -> None:
    """For each line, a JSON list of words, answer with the exit code, stdout and stderr, as JSON."""
    for line in sys.stdin:
        words = json.loads(line)
        done = CliRunner().invoke(build(words), words)
        print(json.dumps([done.exit_code, done.stdout, done.stderr]), flush=True)


if __name__ == "__main__":
    main()
