"""Looking at cameras from outside a node: examining one, finding some, taking a list of them over."""
