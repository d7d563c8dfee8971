"""Torch modules that several architectures share. Plugins import them; the framework does not.

Parameter and buffer names are those of the published checkpoints.

    layers.py               normalisation, activation, attention, the residual block, the stack of blocks
    vision_transformer.py   image tower of most models
    modified_resnet.py      image tower of the RN models
    text_transformer.py     text tower
    cross_attention.py      attention to another sequence: pooling, and the decoder's blocks
    multimodal_transformer.py  CoCa's decoder
    key_values.py           what blocks keep of the tokens they have seen, for texts that grow
    positions.py            position embeddings for another grid or length
"""
