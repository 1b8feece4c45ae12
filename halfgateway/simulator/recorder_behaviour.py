"""How the simulated recorder misbehaves on demand: the knobs that tests turn."""

from __future__ import annotations

from dataclasses import dataclass

from halfgateway.simulator.behaviour import Behaviour


@dataclass(slots=True, kw_only=True)
class RecorderBehaviour(Behaviour):
    """The state of a simulated recorder's knobs, beside those of every device; each may be changed while it runs.

    ``clock_offset_s`` moves every time that it tells and is told: what it calls noon was filmed that much before.

    Search: ``results_at_once`` is how many results one answer holds; without ``tells_search_state`` no answer says
    whether more will come, without ``finds_events`` FindEvents is no action of its own; ``out_of_order`` gives results
    the last first; ``ignores_times`` gives events of all times, whatever was asked.

    Replay: without ``knows_replay`` a request that requires onvif-replay is answered 551; without ``tells_times``
    packets have no extension; without ``reverses`` a range backwards is answered 457; ``skips_gaps`` has the next
    picture follow a gap at once. ``hangs_up_after`` so many pictures of a session the connection breaks; None: never.
    With ``announces_audio`` recordings have a track of sound, on which nothing is sent. ``silent`` leaves all that it
    is asked unanswered; ``stalled`` sends no picture.
    """

    results_at_once: int = 100
    tells_search_state: bool = True
    finds_events: bool = True
    out_of_order: bool = False
    ignores_times: bool = False
    knows_replay: bool = True
    tells_times: bool = True
    reverses: bool = True
    skips_gaps: bool = False
    hangs_up_after: int | None = None
    announces_audio: bool = False
    silent: bool = False
