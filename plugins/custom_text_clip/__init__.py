"""CLIP with a separate text tower, native or from transformers, and an image tower that is native or from timm."""
