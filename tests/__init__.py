"""The tests. A package of its own name, so that no other top-level `tests` can take its place."""
