"""Other libraries' names over the registry, so that programs written for them run on it."""
