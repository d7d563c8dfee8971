"""Torch modules that several architectures share. Plugins import them; the framework does not.

Parameter and buffer names are those of the published checkpoints.

    layers.py               normalisation, activation, attention, the residual block, the stack of blocks
    vision_transformer.py   image tower of most models
    modified_resnet.py      image tower of the RN models
    text_transformer.py     text tower
    positions.py            position embeddings for another grid or length
"""
