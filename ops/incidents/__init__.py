"""Incidents: what happened, by when PP is to be told (article 8), what it was told, and the proof of it.

``events`` what can be said, ``book`` where it is kept, ``incident`` what it amounts to, ``duties`` what is owed next,
``following`` how a cut comes to have an incident, ``continuing`` what becomes of a book that is damaged.
"""
