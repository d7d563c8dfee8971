"""An installed open_clip_torch and the registry work in one process and do not affect each other."""

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

images, texts = torch.randn(2, 3, 64, 64), torch.randint(1, 600, (2, 77))
with torch.no_grad():
    gap = max(
        (ours.encode_image(images) - theirs.encode_image(images)).abs().max().item(),
        (ours.encode_text(texts) - theirs.encode_text(texts)).abs().max().item(),
        (wrapped.encode_image(images) - theirs.encode_image(images)).abs().max().item(),
        (again.encode_image(images) - theirs.encode_image(images)).abs().max().item(),
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
def test_the_registry_and_open_clip_work_in_one_process(order):
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


LAYER = """
import json, logging, os, random, sys, tempfile, warnings
from pathlib import Path
order, text = sys.argv[1:]
folder = Path(tempfile.mkdtemp())
os.environ["HOME"] = str(folder / "home")
os.environ["XDG_CACHE_HOME"] = os.environ["HF_HOME"] = str(folder / "home" / "cache")
if order == "open_clip first":
    import open_clip
    from registry_core.compat import open_clip as layer
else:
    from registry_core.compat import open_clip as layer
    layer.list_models(), layer.tokenize("a cat"), layer.create_model
    import open_clip
import numpy, torch

(folder / "shared-tiny.json").write_text(text)

def state():
    generators = torch.get_rng_state().tolist(), random.getstate(), numpy.random.get_state()[1].tolist()
    process = torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads(), list(warnings.filters)
    return generators, process, logging.getLogger().level, list(logging.getLogger().handlers), sorted(os.environ)

def of_open_clip():
    return open_clip.list_models(), open_clip.list_pretrained(), dict(open_clip.factory._MODEL_CONFIGS)

def of_layer():
    return layer.list_models(), layer.list_pretrained()

torch.manual_seed(0)
before = of_layer()
open_clip.add_model_config(folder / "shared-tiny.json")
theirs = open_clip.create_model("shared-tiny").eval()
torch.save(theirs.state_dict(), folder / "tiny.pt")
untouched = {"our lists": of_layer() == before}

before, process = of_open_clip(), state()
layer.add_model_config(folder / "shared-tiny.json")
ours, _, preprocess = layer.create_model_and_transforms("shared-tiny", str(folder / "tiny.pt"))
again, preprocess_again = layer.create_model_from_pretrained("shared-tiny", str(folder / "tiny.pt"))
ours.eval(), layer.get_tokenizer("ViT-B-32")(["a dog"])
untouched |= {"their lists": of_open_clip() == before, "process": state() == process}

reread, _, their_preprocess = open_clip.create_model_and_transforms("shared-tiny", str(folder / "tiny.pt"))
ids = layer.tokenize(["a cat", "x " * 100])
images = torch.randn(2, 3, 64, 64)
with torch.no_grad():
    outputs = [model.eval()(images, ids % 600)[:2] for model in (ours, theirs, reread)]
untouched |= {
    "tokens": torch.equal(ids, open_clip.tokenize(["a cat", "x " * 100])),
    "modules": sys.modules["open_clip"] is open_clip and open_clip.__file__ is not None,
    "home": not (folder / "home").exists(),
}
gaps = [(found - expected).abs().max().item() for pair in outputs for found, expected in zip(pair, outputs[1])]
print(json.dumps({
    "untouched": untouched,
    "gap": max(gaps),
    "classes": [type(ours).__module__, type(theirs).__module__],
    "mixed up": isinstance(ours, open_clip.CLIP) or isinstance(theirs, layer.CLIP),
}))
"""


@pytest.mark.parametrize("order", ["open_clip first", "layer first"])
def test_the_compat_layer_and_open_clip_work_in_one_process(order):
    pytest.importorskip("open_clip")
    command = [sys.executable, "-P", "-c", LAYER, order, json.dumps(TINY)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert [what for what, held in found["untouched"].items() if not held] == []
    assert found["gap"] < 2e-5
    assert found["classes"] == ["registry_plugins.openai_clip.model", "open_clip.model"]
    assert not found["mixed up"]


def test_the_registry_does_not_import_open_clip():
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
