"""DA-CLIP: a CLIP with a control tower (Luo et al. 2023, https://arxiv.org/abs/2310.01018)."""
