"""Checkpoints: from a file of unknown make to tensors in a model, without running anything the file brings.

recognise.py    what kind of file is this, by content
index.py        names, dtypes, shapes and offsets: the common form of every format, free of torch
safetensors.py, zip_archive.py, unpickle.py, legacy.py    one format each, into an index
shards.py       a checkpoint in several files
state_dict.py   finds the state dict in what was saved, and strips training prefixes
read.py         bytes into tensors: private memory, mapped, or one by one
load.py         tensors into a model; what is missing, unexpected or of another shape
save.py         a model's tensors into a file, each storage once
"""
