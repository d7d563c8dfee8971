"""AcmeSecond, an architecture for registry_core."""
