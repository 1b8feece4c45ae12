"""The documents in French, held to the product."""
