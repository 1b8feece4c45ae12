"""Notices: what PP is told by mail, how it leaves, and how far it came.

``french`` dates and durations, ``rendering`` templates to text and HTML, ``wording`` the texts, ``smime`` the
signature, ``message`` the mail as bytes.
"""
