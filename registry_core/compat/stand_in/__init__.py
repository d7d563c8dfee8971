"""A folder for PYTHONPATH: interpreters under it take the layer for `open_clip`. `registry-core run` sets it."""
