"""CoCa: a CLIP that also generates captions (Yu et al. 2022, https://arxiv.org/abs/2205.01917)."""
