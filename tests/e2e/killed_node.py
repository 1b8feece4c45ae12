"""``halfgateway serve``, to be killed again and again: what it is made of is loaded once, and each life is a copy.

For each line on stdin a life begins: its process id is told on stdout, then what ``serve`` says, then ``dead``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from sqlalchemy.orm import configure_mappers

from halfgateway.cli.node import serve


def live(config: Path) -> None:
    print(os.getpid(), flush=True)
    serve(config, as_json=True)


def main(config: Path) -> None:
    configure_mappers()
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            live(config)
            sys.exit()
        os.waitpid(child, 0)
        print("dead", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
