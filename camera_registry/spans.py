"""Spans of time as sets of instants: joined, and taken away from one another. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """From ``start`` until ``end``, which is not in it any more."""

    start: datetime
    end: datetime


def joined(spans: Iterable[Span]) -> list[Span]:
    """The same instants as spans that neither meet nor overlap, in their order; empty ones are left out."""
    whole: list[Span] = []
    for span in sorted(span for span in spans if span.start < span.end):
        if whole and span.start <= whole[-1].end:
            whole[-1] = Span(whole[-1].start, max(whole[-1].end, span.end))
        else:
            whole.append(span)
    return whole


def without(spans: Iterable[Span], taken: Iterable[Span]) -> list[Span]:
    """What is left of ``spans`` where ``taken`` is not, in its order."""
    away = joined(taken)
    left: list[Span] = []
    for span in joined(spans):
        start = span.start
        for gone in away:
            if gone.end <= start or gone.start >= span.end:
                continue
            if start < gone.start:
                left.append(Span(start, gone.start))
            start = max(start, gone.end)
        if start < span.end:
            left.append(Span(start, span.end))
    return left


def within(spans: Iterable[Span], start: datetime, end: datetime) -> list[Span]:
    """What of ``spans`` lies between two instants, joined."""
    return joined(Span(max(span.start, start), min(span.end, end)) for span in spans)
