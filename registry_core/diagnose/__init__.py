"""Diagnosis: where models come from, and what is wrong with an installation. Nothing here changes anything.

explain.py        where a model's config and weights come from, and which plugin answers
source_status.py  whether weights are on this machine, or where they would be fetched from
conflicts.py      names that more than one plugin provides
doctor.py         checks of the installation
"""
