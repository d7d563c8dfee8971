"""open_clip's names over the registry."""
