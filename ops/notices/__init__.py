"""Notices: what PP is told by mail, how it leaves, and how far it came.

``french`` dates and durations, ``discretion`` what is left out, ``rendering`` templates to text and HTML, ``wording``
and ``letters`` the texts, ``smime`` the
signature, ``message`` the mail as bytes.

``queueing`` what is owed, ``sending`` when and by which way, ``smtp`` and ``folder_route`` the ways, ``reports`` and
``returns`` what comes back, ``escalation`` who is called, ``shouting`` how; ``notifier`` and ``watchdog`` do it all.
"""
