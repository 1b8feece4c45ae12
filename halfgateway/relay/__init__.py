"""The hub: one pull per camera profile, fanned out to bounded readers."""
