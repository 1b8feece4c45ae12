"""Exports of footage."""
