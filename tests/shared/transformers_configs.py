"""Tiny configs of text models of transformers."""

from __future__ import annotations

ROBERTA = {
    "model_type": "roberta", "vocab_size": 200, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 48, "max_position_embeddings": 40, "pad_token_id": 1, "type_vocab_size": 1,
}  # fmt: skip
MT5 = {
    "model_type": "mt5", "vocab_size": 200, "d_model": 32, "d_kv": 16, "d_ff": 48, "num_layers": 2,
    "num_decoder_layers": 1, "num_heads": 2, "feed_forward_proj": "gated-gelu", "pad_token_id": 0,
    "tie_word_embeddings": False,
}  # fmt: skip
M2M = {
    "model_type": "m2m_100", "vocab_size": 200, "d_model": 32, "encoder_layers": 2, "decoder_layers": 1,
    "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48,
    "max_position_embeddings": 40, "pad_token_id": 1, "encoder_layerdrop": 0, "scale_embedding": True,
}  # fmt: skip
