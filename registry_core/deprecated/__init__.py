"""Names that moved. They keep working, with a DeprecationWarning that states the new name.

table.py   old names and new ones
finder.py  makes the old module paths importable
"""
