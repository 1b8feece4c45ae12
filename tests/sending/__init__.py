"""How notices leave, and what comes back."""
