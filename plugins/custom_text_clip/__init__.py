"""CLIP with a text tower of its own: native or of transformers, beside an image tower that is native or of timm."""
