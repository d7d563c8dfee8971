"""The name schemes `hf-hub:org/repo[@revision]` and `local-dir:path`."""
