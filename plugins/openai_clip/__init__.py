"""CLIP with native towers (Radford et al. 2021, https://arxiv.org/abs/2103.00020)."""
