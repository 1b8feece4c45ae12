"""What the demo tells a person: how to watch, live and what was recorded, how to be refused, how to cut."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from halfgateway.protocol.ranges import clock_text

_TEXT = """\
La Demi-Passerelle Partenaire est prête. (The half-gateway is ready. Ctrl-C stops it.)

  Caméras (cameras)   {cameras}
  API                 {http}/api/v1/docs
  Données (data)      {data}

Visualiser (watch), with the demo's machine account:

  ffplay -rtsp_transport tcp '{url}'
  vlc --rtsp-tcp '{url}'    # VideoLAN's; Debian's is built without RTSP
  gst-launch-1.0 rtspsrc protocols=tcp location='{url}' ! decodebin ! autovideosink

Revoir (watch what was recorded), from an hour ago on; start is UTC, ten days back at most:

  ffplay -rtsp_transport tcp '{recorded}?start={start}'

Un onzième Flux est refusé (an eleventh stream is refused: 453 Not Enough Bandwidth):

  for n in $(seq 11); do ffmpeg -nostdin -loglevel error -rtsp_transport tcp -i '{url}' -t 20 -f null - & done; wait

Interrompre l'Interconnexion (cut), then see what the trace says:

  {command} cut --data {data} --reason 'essai'
  {command} trace verify --data {data}
  {command} restore --data {data} --reason "fin de l'essai" --incident INCIDENT
"""


_BACK = timedelta(hours=1)


def demo_text(ready: dict[str, Any], now: datetime) -> str:
    """The demo's first page, with addresses and commands that can be copied."""
    machine = ready["accounts"]["machine"]
    address = urlsplit(ready["rtsp"]).netloc
    at, camera = f"rtsp://{machine['id']}:{machine['password']}@{address}", ready["cameras"][0]
    command = ".venv/bin/halfgateway" if Path(".venv/bin/halfgateway").exists() else "halfgateway"
    return _TEXT.format(
        cameras=", ".join(ready["cameras"]),
        http=ready["http"],
        data=ready["data"],
        url=f"{at}/live/{camera}",
        recorded=f"{at}/recorded/{camera}",
        start=clock_text((now - _BACK).replace(microsecond=0)),
        command=command,
    )
