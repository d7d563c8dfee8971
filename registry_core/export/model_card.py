"""The model card: the facts known about a saved model, as a README.md with the front matter of the Hugging Face hub.

https://huggingface.co/docs/hub/model-cards. The card states facts only. Its first line has a hash of the rest, by which
a card that a person has changed is recognised. Such a card is not replaced.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from registry_core.export.card_facts import CardFacts, gather
from registry_core.export.licences import front_matter

if TYPE_CHECKING:
    from torch import nn

    from registry_core.report import LoadReport
    from registry_core.resolve.services import Services

CARD_FILENAME = "README.md"
LIBRARY = "registry_core"

_PIPELINES = {
    None: "zero-shot-image-classification",
    "image": "image-feature-extraction",
    "text": "feature-extraction",
}
# Cards that are already saved and pushed have this comment, so its text must not change.
_MARK = "# registry_core wrote this card, and renews it for as long as nobody changes it: "
_MARKED = re.compile(rf"---\n{re.escape(_MARK)}([0-9a-f]{{16}})\n(.*)", re.DOTALL)
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|~&#$])")

_TEXT = """\
# {title}

| | |
|---|---|
{facts}

Changes to the weights after loading, such as training, are not recorded here.
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
    """Return the text of the card of a created model.

    Args:
        services: Builds the towers on the meta device, to count the parameters of each.
        model: The model that is saved.
        report: Report of the model.
        repo: Repository on the hub that the card is for, as `org/name`. Empty for a folder.
    """
    facts = gather(services, model, report)
    arguments = [f'"hf-hub:{repo}"' if repo else '"local-dir:path/to/this/folder"']
    if report.precision != "fp32":
        arguments.append(f'precision="{report.precision}"')
    if report.tower:
        arguments.append(f'tower="{report.tower}"')
    body = _TEXT.format(
        title=escaped(repo or facts.title),
        facts="\n".join(f"| {escaped(label)} | {escaped(value)} |" for label, value in facts.rows),
        changes=_changes(facts),
        arguments=", ".join(arguments),
    )
    rest = f"{_front_matter(report)}---\n\n{body}"
    return f"---\n{_MARK}{_digest(rest)}\n{rest}"


def is_ours(text: str) -> bool:
    """Whether registry_core wrote a card and nobody has changed it since."""
    found = _MARKED.fullmatch(text.replace("\r\n", "\n"))
    return found is not None and found[1] == _digest(found[2])


def may_replace(path: Path) -> bool:
    """Whether a card may be written to a path: no file exists there, or an unchanged card of registry_core."""
    try:
        return is_ours(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        return not path.is_symlink()
    except (OSError, ValueError):  # a folder, an unreadable file, or a file that is not text
        return False


def escaped(text: str) -> str:
    """Escape a text so that Markdown shows it unchanged, on one line. Unprintable characters become spaces."""
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    return _MARKDOWN.sub(r"\\\1", line)


def quoted(text: str) -> str:
    """Quote any text as a YAML string. A lone surrogate, which no file can contain, becomes U+FFFD."""
    valid = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    plain = set(map(chr, range(0x20, 0x7F))) - {'"', "\\"}
    return '"' + "".join(letter if letter in plain else f"\\U{ord(letter):08x}" for letter in valid) + '"'


def _front_matter(report: LoadReport) -> str:
    keys = {"library_name": LIBRARY, "pipeline_tag": _PIPELINES[report.tower], **front_matter(report.licence)}
    tags = dict.fromkeys(("clip", report.config.architecture))
    return _lines(keys) + "tags:\n" + "".join(f"- {quoted(tag)}\n" for tag in tags if tag)


def _lines(keys: Mapping[str, str]) -> str:
    return "".join(f"{key}: {quoted(value)}\n" for key, value in keys.items())


def _changes(facts: CardFacts) -> str:
    lines = "\n".join(f"- {escaped(change)}: {escaped(affected)}" for change, affected in facts.changes)
    return f"\n## Changes during loading\n\n{lines}\n" if lines else ""


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
