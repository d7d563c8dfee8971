"""A folder for PYTHONPATH. In an interpreter that has it there, `import open_clip` imports the compatibility layer.

`registry-core run` adds the folder to PYTHONPATH.
"""
