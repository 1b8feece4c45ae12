"""Draws the README's picture from a demo that really runs: ``python -m docs.make_picture`` (needs ffmpeg).

Every frame in it was decoded behind the gateway, and every line of text is what a command printed.
"""

from __future__ import annotations

import asyncio
import base64
import sys
import tempfile
from html import escape
from pathlib import Path
from typing import Any

from halfgateway.demo import DemoPorts, running_demo

TARGET = Path(__file__).parent / "images" / "demo.svg"
WIDTH, FRAME_WIDTH, FRAME_HEIGHT, GAP = 1180, 380, 214, 10


async def run(*command: str) -> tuple[int, bytes, str]:
    """Run a command to its end: its exit code, output, and complaints."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    output, complaints = await process.communicate()
    return process.returncode or 0, output, complaints.decode()


def player(url: str, *output: str) -> tuple[str, ...]:
    """An ffmpeg that plays ``url``."""
    return ("ffmpeg", "-nostdin", "-loglevel", "error", "-rtsp_transport", "tcp", "-i", url, *output)


async def scene(ready: dict[str, Any]) -> tuple[list[bytes], list[str]]:
    """What happens: three cameras, ten streams, an eleventh, a cut, a verification."""
    machine = ready["accounts"]["machine"]
    base = ready["rtsp"].replace("//", f"//{machine['id']}:{machine['password']}@")
    urls = [f"{base}/live/{camera}" for camera in ready["cameras"]]
    frames = []
    for url in urls:
        picture = ("-ss", "1", "-frames:v", "1", "-vf", f"scale={FRAME_WIDTH}:-2", "-q:v", "6", "-f", "mjpeg", "-")
        frames.append((await run(*player(url, *picture)))[1])
    ten = [asyncio.create_task(run(*player(urls[n % len(urls)], "-f", "null", "-"))) for n in range(10)]
    await asyncio.sleep(4)
    _, _, refused = await run(*player(urls[0], "-f", "null", "-"))
    text = ["$ ffmpeg -i rtsp://…/live/" + ready["cameras"][0] + "      # the eleventh"]
    text += [line.split("] ")[-1] for line in refused.splitlines()[:1]]
    for arguments in (("cut", "--reason", "essai"), ("trace", "verify")):
        _, output, _ = await run(sys.executable, "-m", "halfgateway", *arguments, "--data", ready["data"])
        text += ["", "$ halfgateway " + " ".join(arguments) + " --data demo"]
        text += [line.replace(ready["data"], "demo") for line in output.decode().splitlines()]
    await asyncio.gather(*ten)
    return frames, text


def drawn(frames: list[bytes], text: list[str]) -> str:
    """The picture as SVG."""
    height = FRAME_HEIGHT + 3 * GAP + 22 * len(text) + 24
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">',
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#11161d"/>',
    ]
    for number, frame in enumerate(frames):
        x = GAP + number * (FRAME_WIDTH + GAP)
        data = base64.b64encode(frame).decode()
        parts.append(
            f'<image x="{x}" y="{GAP}" width="{FRAME_WIDTH}" height="{FRAME_HEIGHT}" '
            f'href="data:image/jpeg;base64,{data}"/>'
        )
    for number, line in enumerate(text):
        y = FRAME_HEIGHT + 3 * GAP + 18 + 22 * number
        colour = "#8fd6a0" if line.startswith("$") else "#e6edf3"
        parts.append(
            f'<text x="{2 * GAP}" y="{y}" fill="{colour}" font-size="15" font-family="ui-monospace, monospace" '
            f'xml:space="preserve">{escape(line)}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


async def main() -> None:
    """Run the demo in a folder of its own and draw it."""
    with tempfile.TemporaryDirectory() as folder:
        async with running_demo(Path(folder) / "demo", "127.0.0.1", DemoPorts(0, 0, 0, 0), cameras=3) as (_, ready):
            TARGET.write_text(drawn(*await scene(ready)), encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(main())
