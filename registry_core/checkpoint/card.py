"""A model card: what is known of a saved model, as a README.md with the front matter of the Hugging Face hub.

https://huggingface.co/docs/hub/model-cards. It states facts and no more. A card that a person has changed is told by
its hash, and left alone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from registry_core.checkpoint.card_facts import CardFacts, gather
from registry_core.checkpoint.licences import front_matter

if TYPE_CHECKING:
    from torch import nn

    from registry_core.report import LoadReport
    from registry_core.services import Services

CARD_FILENAME = "README.md"
LIBRARY = "registry_core"

_PIPELINES = {
    None: "zero-shot-image-classification",
    "image": "image-feature-extraction",
    "text": "feature-extraction",
}
_MARK = "# registry_core wrote this card, and renews it for as long as nobody changes it: "
_MARKED = re.compile(rf"---\n{re.escape(_MARK)}([0-9a-f]{{16}})\n(.*)", re.DOTALL)
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|~&#$])")

_TEXT = """\
# {title}

| | |
|---|---|
{facts}

What was done to the values after they were loaded, such as training, is not recorded here.
{changes}
## Use

```python
from registry_core import registry

model = registry.create({arguments})
preprocess = registry.preprocess(model)
tokenizer = registry.tokenizer(model)
```
"""


def model_card(services: Services, model: nn.Module, report: LoadReport, repo: str = "") -> str:
    """The card of a model that a registry created.

    Args:
        services: build the towers on the meta device, to tell whose each parameter is.
        model: as it is to be saved.
        report: of the model.
        repo: where it goes on the hub, `org/name`; empty for a folder.
    """
    facts = gather(services, model, report)
    precise = {"precision": report.precision} if report.precision != "fp32" else {}
    towers = {"tower": report.tower} if report.tower else {}
    arguments = [f'"hf-hub:{repo}"' if repo else '"local-dir:path/to/this/folder"']
    arguments += [f'{key}="{value}"' for key, value in {**precise, **towers}.items()]
    body = _TEXT.format(
        title=escaped(repo or facts.title),
        facts="\n".join(f"| {escaped(name)} | {escaped(value)} |" for name, value in facts.rows),
        changes=_changes(facts),
        arguments=", ".join(arguments),
    )
    rest = f"{_front(report)}---\n\n{body}"
    return f"---\n{_MARK}{_digest(rest)}\n{rest}"


def is_ours(text: str) -> bool:
    """Whether a card is as it was written here: with the mark, and not changed since."""
    found = _MARKED.fullmatch(text.replace("\r\n", "\n"))
    return found is not None and found[1] == _digest(found[2])


def may_replace(path: Path) -> bool:
    """Whether there is no card at a path, or one of ours."""
    try:
        return is_ours(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        return not path.is_symlink()
    except (OSError, ValueError):  # a folder, unreadable, or not text: not written here
        return False


def escaped(text: str) -> str:
    """A text that Markdown shows as it is, in one line; what cannot be printed becomes a space."""
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    return _MARKDOWN.sub(r"\\\1", line)


def quoted(text: str) -> str:
    """A YAML string of any text; half a surrogate pair, which no file can hold, becomes U+FFFD."""
    valid = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    plain = set(map(chr, range(0x20, 0x7F))) - {'"', "\\"}
    return '"' + "".join(letter if letter in plain else f"\\U{ord(letter):08x}" for letter in valid) + '"'


def _front(report: LoadReport) -> str:
    keys = {"library_name": LIBRARY, "pipeline_tag": _PIPELINES[report.tower], **front_matter(report.licence)}
    tags = dict.fromkeys(("clip", report.config.architecture))
    return _lines(keys) + "tags:\n" + "".join(f"- {quoted(tag)}\n" for tag in tags if tag)


def _lines(keys: Mapping[str, str]) -> str:
    return "".join(f"{key}: {quoted(value)}\n" for key, value in keys.items())


def _changes(facts: CardFacts) -> str:
    groups: Iterable[str] = (f"- {escaped(what)}: {escaped(names)}" for what, names in facts.changes)
    lines = "\n".join(groups)
    return f"\n## At loading\n\n{lines}\n" if lines else ""


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
