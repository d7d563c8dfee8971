"""Tokenizers of transformers, over files that were trained here."""

from __future__ import annotations

import pickle
import sys

import pytest
import torch

from registry_core import BuildError, ConfigError, FetchError, InputError
from registry_core.tokenizers.huggingface import HFOptions, HFTokenizer

pytest.importorskip("transformers")


@pytest.fixture
def tokenizer(word_pieces):
    return HFTokenizer(word_pieces, context_length=12)


def test_rows_have_the_special_tokens_of_the_files(tokenizer):
    inner = tokenizer.tokenizer
    row = tokenizer("a photo of the cat")[0].tolist()
    assert row[0] == inner.cls_token_id
    assert inner.sep_token_id in row
    assert row[-1] == inner.pad_token_id
    assert tokenizer(["a", "b"]).shape == (2, 12)
    assert tokenizer([]).shape == (0, 12)


def test_a_long_text_is_truncated_and_has_the_end_token(tokenizer):
    assert tokenizer("photo " * 100)[0, -1] == tokenizer.tokenizer.sep_token_id


def test_a_length_without_room_for_the_special_tokens_is_refused(tokenizer):
    assert tokenizer(["a cat", "a"], 2).shape == (2, 2)
    with pytest.raises(InputError, match=r"context_length=1: the tokenizer of .* puts 2 special tokens around"):
        tokenizer(["a cat", "a"], 1)


def test_decoding_leaves_special_tokens_out(tokenizer):
    row = tokenizer("a photo of the cat")[0]
    assert tokenizer.decode(row) == "a photo of the cat"
    assert tokenizer.decode(row, skip_special_tokens=False).startswith("[CLS] a photo")
    assert tokenizer.decode(tokenizer.encode("cat")) == "cat"


def test_case_survives_whitespace_cleaning_and_not_canonicalizing(sentence_pieces):
    plain = HFTokenizer(sentence_pieces, context_length=16)
    canonical = HFTokenizer(sentence_pieces, HFOptions(clean="canonicalize"), 16)
    assert not torch.equal(plain("A Photo, of"), plain("a photo of"))
    assert torch.equal(canonical("A  Photo, of!"), canonical("a photo of"))


def test_separators_become_zeros_if_asked_for(word_pieces):
    stripped = HFTokenizer(word_pieces, HFOptions(strip_sep_token=True), 12)
    row = stripped("the cat")[0]
    assert stripped.tokenizer.sep_token_id not in row.tolist()


def test_the_clips_mode_ends_with_the_class_token(word_pieces):
    tokenizer = HFTokenizer(word_pieces, context_length=8, mode="clips")
    inner = tokenizer.tokenizer
    for text in ("cat", "photo " * 20):
        row = tokenizer(text)[0].tolist()
        assert row[0] == inner.bos_token_id
        assert row[-1] == inner.cls_token_id
        assert inner.eos_token_id in row


def test_special_tokens_that_are_needed_and_missing_are_named(sentence_pieces):
    with pytest.raises(ConfigError, match=r"tokenizer_mode='clips' needs bos_.* does not have bos_token, cls_token"):
        HFTokenizer(sentence_pieces, mode="clips")
    with pytest.raises(ConfigError) as caught:
        HFTokenizer(sentence_pieces, HFOptions(strip_sep_token=True))
    assert (caught.value.name, caught.value.found) == (sentence_pieces, ["sep_token"])


def test_a_language_where_none_is_marked_is_refused(word_pieces):
    with pytest.raises(ConfigError, match=r"language='fra_Latn': the .* does not mark languages"):
        HFTokenizer(word_pieces, HFOptions(language="fra_Latn"))


def test_a_language_is_marked_in_each_text(tmp_path):
    from transformers import NllbTokenizer

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "eng_Latn", "fra_Latn", "\u2581", "a"]
    vocabulary = {token: index for index, token in enumerate(special)}
    NllbTokenizer(vocab=vocabulary, merges=[]).save_pretrained(tmp_path)
    for language in ("eng_Latn", "fra_Latn"):
        tokenizer = HFTokenizer(str(tmp_path), HFOptions(language=language), 6)
        assert tokenizer(["a", "a"])[:, 0].tolist() == [vocabulary[language]] * 2
    with pytest.raises(ConfigError, match=r"language='xyz': the tokenizer of .* does not have this token"):
        HFTokenizer(str(tmp_path), HFOptions(language="xyz"))


def test_missing_files_are_named_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(FetchError, match=r"'org/absent' could not be loaded\. The network may not be.*path/to/folder'"):
        HFTokenizer("org/absent", cache_dir=tmp_path, offline=True)
    for source in (str(tmp_path), "~nobody-of-this-name/x"):
        with pytest.raises(FetchError) as caught:
            HFTokenizer(source, offline=True)
        assert (caught.value.name, caught.value.argument) == (source, "hf_tokenizer_name")
        assert "hf_tokenizer_name='path/to/folder'" in caught.value.advice


def test_a_pickle_and_a_saved_copy_give_the_same_ids(tokenizer, tmp_path):
    expected = tokenizer("a photo of the cat")
    assert torch.equal(pickle.loads(pickle.dumps(tokenizer))("a photo of the cat"), expected)
    tokenizer.save(tmp_path / "copy")
    assert torch.equal(HFTokenizer(str(tmp_path / "copy"), context_length=12)("a photo of the cat"), expected)


def test_the_repr_shows_the_options(word_pieces):
    tokenizer = HFTokenizer(word_pieces, context_length=12)
    shown = f"HFTokenizer({word_pieces!r}, context_length=12, vocab_size={tokenizer.vocab_size}, clean='whitespace')"
    assert repr(tokenizer) == shown


def test_ids_of_another_vocabulary_are_not_decoded(tokenizer):
    with pytest.raises(InputError) as caught:
        tokenizer.decode([10**6])
    assert (caught.value.argument, caught.value.found) == ("ids", [10**6])


def test_encode_takes_one_text(tokenizer):
    with pytest.raises(InputError) as caught:
        tokenizer.encode(3)
    assert (caught.value.argument, caught.value.found) == ("texts", 3)


def test_without_transformers_the_error_names_the_command_that_installs_it(word_pieces, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(BuildError, match=r"needs transformers.*pip install 'registry_core\[hf\]'"):
        HFTokenizer(word_pieces)


def test_offline_no_socket_is_opened(monkeypatch, tmp_path):
    """transformers asks the hub for a name even with local_files_only."""
    import socket

    asked = []

    def refuse(*arguments, **_):
        asked.append(arguments[:2])
        raise OSError("no network")

    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(FetchError):
        HFTokenizer("org/absent", cache_dir=tmp_path, offline=True)
    assert asked == []
