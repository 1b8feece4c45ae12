"""The composition root: the one place that knows every piece of a node, and in which order they live and die."""

from __future__ import annotations

from halfgateway.app.node import Node, running_node

__all__ = ["Node", "running_node"]
