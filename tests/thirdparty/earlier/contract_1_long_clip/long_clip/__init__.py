"""Long-CLIP: a CLIP for long texts (Zhang et al. 2024, https://arxiv.org/abs/2403.15378)."""
