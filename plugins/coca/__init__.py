"""CoCa: a CLIP that also writes captions (Yu et al. 2022, https://arxiv.org/abs/2205.01917)."""
