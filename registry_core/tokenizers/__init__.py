"""Tokenizers: from texts to the token ids that a text tower takes. Their libraries are imported on first use.

base.py             what all tokenizers share: checks of texts, lengths and ids
clip_bpe.py         CLIP's tokenizer; clip_vocabulary.py holds its byte-pair encoding
huggingface.py      tokenizers of the transformers library
cleaning.py, reduction.py  cleaning of texts; shortening of texts that are too long
make.py             the tokenizer that a text config asks for
"""
