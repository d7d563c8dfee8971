"""The plugins that ship with registry_core, installed as `registry_plugins`.

Each folder is one architecture, reached only through its entry point, as a third party's would be.
"""
