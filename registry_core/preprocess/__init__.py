"""Preprocess: from a PIL image to the input tensor of an image tower.

images.py        which images are accepted, and their conversion to 8-bit RGB
steps.py         torchvision's resize and random crop, with these checks
inference.py     the transform for evaluation
augmentation.py  the config of the random changes in training
training.py      the transform for training
make.py          the transform of a model config

torchvision is imported when the first image is transformed.
"""
