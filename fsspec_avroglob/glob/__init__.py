"""From a pattern to the keys that match it: the plan, the listing and its results."""
