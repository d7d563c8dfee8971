"""Alpha-CLIP: a CLIP that is told where to look (Sun et al. 2023, https://arxiv.org/abs/2312.03818)."""
