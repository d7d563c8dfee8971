"""Alpha-CLIP: a CLIP with an input for the region to look at (Sun et al. 2023, https://arxiv.org/abs/2312.03818)."""
