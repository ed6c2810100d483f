"""Results to their destinations: each object delivered once, or its failure visible.

In: objects on disk and the destinations of the configuration. Out: ledger rows with the status of every response.
Never deletes an object, never gives up silently, and a dead destination delays no other.
"""
