"""Checkpoints: read the tensors of a file of any supported format, without running anything that the file contains.

index.py        names, dtypes, shapes and offsets: the common form of every format, free of torch
file.py         an open file, read at exact offsets
stored.py       a tensor whose elements are stored in a file without encoding
recognise.py    finds the format of a file by its content
safetensors.py, zip_archive.py, npz.py, legacy.py    one format each, read into an index
zip_records.py  the records of a zip, checked; script_module.py reads the state dict of a TorchScript module
pickle_reader.py  reads a pickle as data; pickle_machine.py, pickle_calls.py, pickle_values.py are its parts
shards.py       a checkpoint in several files
state_dict.py   finds the state dict in a saved object, and strips training prefixes
layout.py       converts another library's names and shapes by a table of rules
read.py         reads bytes into tensors: private memory, mapped, or one by one

The names below are for plugins.
"""

from registry_core.checkpoint.index import Conversion, LazyTensor
from registry_core.checkpoint.layout import Rule, relayout

__all__ = ["Conversion", "LazyTensor", "Rule", "relayout"]
