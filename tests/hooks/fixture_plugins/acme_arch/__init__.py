"""A third-party plugin with an architecture of its own."""
