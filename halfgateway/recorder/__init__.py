"""``halfgateway recorder``: SYN's recorder where a site has none (C04). Pulls cameras, writes and destroys segments.

No part of a node: it shows nobody anything. What it keeps is reached through a node, as any recorder's footage is.
"""
