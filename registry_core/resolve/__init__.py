"""Resolving: from a model name to its config, owner, tokenizer, transform and loss; from a tag or a path to weights.

catalog.py      the models and tags that exist, from all plugins and the user
results.py      a resolved model, and weights that were found
lookup.py       which plugin answers a name, a raw config or a tag
pretrained.py   what the argument `pretrained` refers to: a tag, or a path
services.py     all of it behind one object, which plugins use too
user_config.py  adding a user's config
download.py     downloading the file of a tag

loss.py, tokenizer.py, transform.py and classifier.py make what belongs to a model or a name: the plugin provides it, or
the config says how to make it.
"""
