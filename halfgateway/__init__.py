"""The partner's half-gateway: relays SYN's cameras to the Préfecture de police, under the convention."""

__version__ = "0.1.0"
