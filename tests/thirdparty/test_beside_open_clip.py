"""An installed open_clip_torch and the registry in one process: neither disturbs the other."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.parity

CODE = """
import json, sys, tempfile
from pathlib import Path
order, folder = sys.argv[1], Path(tempfile.mkdtemp())
if order == "open_clip first":
    import open_clip
from registry_core import Registry
import torch
import open_clip

TINY = json.loads(sys.argv[2])
before = sorted(open_clip.list_models())
registry = Registry()
(folder / "shared-tiny.json").write_text(json.dumps(TINY))
open_clip.add_model_config(folder / "shared-tiny.json")
registry.add_config(folder / "shared-tiny.json")

torch.manual_seed(0)
theirs = open_clip.create_model("shared-tiny").eval()
torch.save(theirs.state_dict(), folder / "tiny.pt")
ours = registry.create("shared-tiny", folder / "tiny.pt")
wrapped = registry.create("daclip_shared-tiny", folder / "tiny.pt")
again = open_clip.create_model("shared-tiny", pretrained=str(folder / "tiny.pt")).eval()

pictures, texts = torch.randn(2, 3, 64, 64), torch.randint(1, 600, (2, 77))
with torch.no_grad():
    gap = max(
        (ours.encode_image(pictures) - theirs.encode_image(pictures)).abs().max().item(),
        (ours.encode_text(texts) - theirs.encode_text(texts)).abs().max().item(),
        (wrapped.encode_image(pictures) - theirs.encode_image(pictures)).abs().max().item(),
        (again.encode_image(pictures) - theirs.encode_image(pictures)).abs().max().item(),
    )
print(json.dumps({
    "gap": gap,
    "theirs": type(theirs).__module__,
    "ours": type(ours).__module__,
    "their list": sorted(set(open_clip.list_models()) ^ set(before)),
    "their daclip": [name for name in open_clip.list_models() if "daclip" in name],
    "our daclip": "daclip_shared-tiny" in registry.list_models(),
    "from them": sorted(name for name in sys.modules if name.startswith("registry_") and "open_clip" in name
                        and "compat" not in name),
}))
"""

TINY = {
    "embed_dim": 48,
    "vision_cfg": {"image_size": 64, "layers": 3, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 600, "width": 64, "heads": 2, "layers": 2},
}


@pytest.mark.parametrize("order", ["open_clip first", "registry first"])
def test_both_work_side_by_side(order):
    pytest.importorskip("open_clip")
    command = [sys.executable, "-P", "-c", CODE, order, json.dumps(TINY)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["gap"] < 2e-5
    assert found["theirs"] == "open_clip.model"
    assert found["ours"] == "registry_plugins.openai_clip.model"
    assert found["their list"] == ["shared-tiny"]
    assert found["their daclip"] == []
    assert found["our daclip"]
    assert found["from them"] == []


def test_the_registry_imports_nothing_of_open_clip():
    code = """
import json, sys
sys.modules["open_clip"] = None
from registry_core import registry
registry.create("daclip_ViT-B-32", device="meta")
print(json.dumps(sorted(name for name in sys.modules if name.startswith("open_clip."))))
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []
