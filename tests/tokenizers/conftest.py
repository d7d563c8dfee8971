"""Texts of all kinds, and tokenizers of transformers trained here."""

from __future__ import annotations

import html.entities
import random
import unicodedata

import pytest

SCRIPTS = [
    (0x41, 0x5A), (0x61, 0x7A), (0xC0, 0x24F), (0x370, 0x3FF), (0x400, 0x52F), (0x531, 0x587), (0x591, 0x5F4),
    (0x600, 0x6FF), (0x900, 0x97F), (0xE01, 0xE5B), (0x10A0, 0x10FF), (0x1100, 0x11FF), (0x1E00, 0x1FFF),
    (0x3040, 0x30FF),    (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0x13A0, 0x13F5), (0x1D400, 0x1D7FF), (0x10400, 0x1044F),
]  # fmt: skip
WORDS = (  # noqa: SIM905 - read better as texts
    "a photo of the small cat sitting on Grandma's wooden table next to 3 vases, isn't it? it's we'll they've I'D "
    "can't don't-know e-mail C++ f(x)=2 $9.99 50% #tag @user http://a.b/c?d=e&f=g snake_case CamelCase ... !!! :-) "
    "<b>bold</b> <start_of_text> <END_OF_TEXT> <end_of_text> </w> łódź café naïve Straße ΑΣ ΟΔΟΣ. İstanbul ısı "
    "кошка Москва 東京 서울"
).split()
AWKWARD = [
    "'\u017f", "\u212a", "\u2126", "\u00b5", "\ufb01", "\ufb06", "\u0149", "\uff21\uff06\uff1b", "\uff71\uff9e",
    "\u3000", "\u201cq\u201d", "it\u2019s", "\u02bc", "\u2028", "\u2029", "\x85", "\xa0", "\u200b", "\u200d", "\ufeff",
    "\ufffd", "\u1680", "\x1c", "\x1f", "\x0b", "\x0c", "\r\n", "\t", "\x00", "\x7f", "\x1b[31mred\x1b[0m", "\x1b[",
    "e\u0301", "\u1100\u1161", "\ud83d\ude00", "\ud83d", "\udc00", "Ã ", "Â ", "a Â b", "œ ", "Œ", "à€",
    "вЂ", "Ђ°", "¡\xad",
    "\u0378",
]  # fmt: skip
EMOJI = ["😀", "🐱", "👩‍👩‍👧", "🏳️‍🌈", "🇫🇷", "👍🏽", "❤️", "✈", "™", "©", "🏴󠁧󠁢󠁷󠁬󠁳󠁿"]
ENTITIES = sorted(html.entities.html5)


def _one_script(r):
    low, high = r.choice(SCRIPTS)
    return "".join(" " if r.random() < 0.15 else chr(r.randint(low, high)) for _ in range(r.randint(1, 25)))


def _anything(r):
    return "".join(
        chr(r.randrange(0x110000) if r.random() < 0.5 else r.randrange(0x3000)) for _ in range(r.randint(1, 15))
    )


def _latin_1(r):
    return "".join(chr(r.randrange(0x250)) for _ in range(r.randint(1, 20)))


def _words(r):
    return r.choice([" ", " ", "  ", "\t", "\n"]).join(r.choice(WORDS) for _ in range(r.randint(1, 14)))


def _mojibake(r):
    text = _words(r) + r.choice(["é", "ñ", "…", "“ü”", "’", "–", "日本", "привет", "🐱"]) + r.choice(WORDS)
    for _ in range(r.randint(1, 2)):
        encoding = r.choice(["latin-1", "cp1252", "mac_roman", "cp1251", "cp437", "cp1253", "cp1257"])
        text = text.encode("utf-8", "replace").decode(encoding, "replace")
    return text


def _entities(r):
    parts = [_words(r)]
    for _ in range(r.randint(1, 4)):
        entity = r.choice([
            "&" + r.choice(ENTITIES), "&amp;", "&lt;", "&gt;", "&quot;", "&nbsp;", "&eacute;", "&EACUTE;", "&AMP;",
            "&amp",            f"&#{r.randrange(0x3000)};", f"&#x{r.randrange(0x110000):x};", "&", "&&", "&;", "&#;",
        ])  # fmt: skip
        for _ in range(r.randint(0, 2)):
            entity = entity.replace("&", "&amp;")
        parts.append(r.choice(["", " "]) + entity)
    r.shuffle(parts)
    return "".join(parts)


def _awkward(r):
    return "".join(
        r.choice([r.choice(AWKWARD), r.choice(WORDS), " ", r.choice(EMOJI)]) for _ in range(r.randint(1, 10))
    )


def _mixed(r):
    return r.choice(["", " "]).join(r.choice(KINDS[:-1])(r) for _ in range(r.randint(2, 3)))


def _decomposed(r):
    return unicodedata.normalize(r.choice(["NFD", "NFKD", "NFKC"]), _one_script(r) + _words(r))


def _printable(r):
    return "".join(chr(r.randrange(0x20, 0x7F)) for _ in range(r.randint(0, 60)))


def _long(r):
    return r.choice(["", " "]).join(r.choice(WORDS) for _ in range(r.randint(60, 150)))


KINDS = [
    _words, _one_script, _anything, _latin_1, _mojibake, _entities, _awkward, _decomposed, _printable, _long, _mixed,
]  # fmt: skip


@pytest.fixture(scope="session")
def fuzzed():
    """n texts of many scripts, emoji, wrong decodings, entities and controls; the same ones for a seed."""

    def make(n, seed=0):
        r = random.Random(seed)
        return [r.choice(KINDS)(r) for _ in range(n)]

    return make


def train(folder, *, special=("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[BOS]", "[EOS]"), template="[CLS] $A [SEP]"):
    """A word-piece tokenizer of a few hundred ids, as transformers keeps one."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=500, special_tokens=list(special), show_progress=False)
    tokenizer.train_from_iterator([" ".join(WORDS), "the quick brown fox jumps over the lazy dog"] * 4, trainer)
    ids = [(name, tokenizer.token_to_id(name)) for name in special]
    tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=ids)
    names = {"[PAD]": "pad", "[UNK]": "unk", "[CLS]": "cls", "[SEP]": "sep", "[BOS]": "bos", "[EOS]": "eos"}
    roles = {f"{names[token]}_token": token for token in special if token in names}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **roles).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def word_pieces(tmp_path_factory):
    """The folder of a BERT-like tokenizer."""
    return train(tmp_path_factory.mktemp("word_pieces"))


@pytest.fixture(scope="session")
def sentence_pieces(tmp_path_factory):
    """The folder of a SigLIP-like tokenizer: unigram pieces, an end token, padded with it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=200, special_tokens=special, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator([" ".join(WORDS).lower()] * 4, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    folder = tmp_path_factory.mktemp("sentence_pieces")
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="</s>", eos_token="</s>", unk_token="<unk>")
    fast.save_pretrained(folder)
    return str(folder)
