"""Plugins: finding them, checking them, and calling their hooks.

plugin.py      a plugin as the registry knows it
selection.py   which of the installed plugins to use
validation.py  whether an entry point provides a valid plugin
host.py        discovery through entry points; each failure is kept with its plugin
trace.py       a record of which plugin was asked what, for `explain`
calls.py       the core's calls to hooks, with every answer checked

The contract itself is registry_core/hookspecs.py.
"""
