"""Performance of Counterpoint, measured against the ways that it replaces."""
