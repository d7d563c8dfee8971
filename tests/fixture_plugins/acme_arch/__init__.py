"""A third party with an architecture of its own."""
