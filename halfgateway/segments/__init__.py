"""Segments: files of footage, where each lies, what it holds, and its pictures as RTP packets."""
