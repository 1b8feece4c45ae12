"""The table of conditions as a page: ``python -m tests.auth.policy_page`` writes it."""

from __future__ import annotations

from pathlib import Path

from auth.policy import CONDITIONS, About
from halfgateway.control.admission import POLICY_REFUSALS

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "policy.md"
COMMAND = "python -m tests.auth.policy_page"
HEADING = f"""# Who may watch what

Written from [`auth/policy/conditions.py`](../auth/policy/conditions.py) by `{COMMAND}`: change it there.

Every request for images, by whatever way it comes, is decided by one pure function over the convention and the records:
`decide(requester, camera, action, now, convention, rights, …)`. The conditions are asked in the order below; the first
that fails is the answer. Who asks comes before what is asked for, so that a stranger learns nothing of cameras and
orders. Nothing is allowed that is not on record: no designation, no habilitation, no order, no declared site means no.
What runs is asked again every two seconds, and at once when the records change: it ends within five seconds, with the
same reason. The requester is told the **refusal**; the **reason** is for the trace alone.
"""
SUBJECTS = {
    About.REQUESTER: "Who asks",
    About.CAMERA: "The camera",
    About.ORDER: "The order, and the footage under it\n\nOne order that allows suffices; where none does, the one that"
    " came furthest tells why.",
}
FOOT = """## Where else

- **Everybody who logs in or calls** is asked what is marked ¹: a right that has ended since the login opens nothing.
- **A camera is listed** to PP's side only where all conditions hold that are not marked ², and for a machine, which
  asks for all its agents, not those marked ³.
- **What runs** is not asked what is marked ⁴: a new version of the charter is read before the next stream.
"""


def page() -> str:
    """What the page is to hold."""
    return "\n".join([HEADING, *(section(about) for about in About), FOOT])


def section(about: About) -> str:
    lines = ["| it must be that | else: refusal | HTTP | RTSP | reason | source |", "|---|---|---|---|---|---|"]
    for condition in CONDITIONS:
        if condition.about is about:
            refusal = POLICY_REFUSALS[condition.refusal]
            marks = "¹" * condition.standing + "²" * (not condition.listing) + "³" * condition.personal
            marks += "⁴" * condition.entering
            lines.append(
                f"| {condition.asks}{marks} | `{condition.refusal}` | {refusal.http_status} | {refusal.rtsp_status} "
                f"| `{condition.reason}` | {condition.source} |"
            )
    return "\n".join([f"## {SUBJECTS[about]}", "", *lines, ""])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
