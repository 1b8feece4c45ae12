"""The one door, and its enforcement: admission, slots, tickets, cut."""
