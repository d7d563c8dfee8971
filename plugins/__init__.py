"""The plugins that ship with registry_core, installed as `registry_plugins`.

Each folder is one plugin. It is loaded only through its entry point, like the plugin of a third party.
"""
