"""Build a finished model from a resolved config and a fetched file. torch is imported from here on.

create.py         the path from a name to a model: resolve, fetch, then assemble
request.py        what to build, checked before anything is built
surroundings.py   the defaults of a fresh process, whatever the caller has set
uninitialised.py  a module without the cost of values that a checkpoint overwrites
load_state.py     loads tensors into a model; what is missing, unexpected or misshaped
loading.py        loads a file into a built model, then runs the plugins' last steps; `create` and `load` share it
tower_weights.py  loads one tower from a separate file
assemble.py       all of these steps in order: the finished model
in_place.py       writes values into the memory of an existing model, and restores the previous ones
reload.py         loads a checkpoint into an existing model
"""
