"""A plugin that ends the process, changes what it is handed or answers nonsense is a broken plugin, and no more."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from registry_core import Registry

TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 8, "vocab_size": 300, "width": 32, "heads": 2, "layers": 1},
}

FATAL = {
    "exit": "import sys; sys.exit(0)",
    "system exit": "raise SystemExit('no')",
    "generator exit": "raise GeneratorExit",
    "base": "raise type('Panic', (BaseException,), {})('at once')",
    "unreadable": "raise type('Odd', (Exception,), {'__str__': lambda self: 1 / 0})()",
}


def found(registry, name):
    return next(plugin for plugin in registry.plugins() if plugin.name == name)


class TestWhatWouldEndTheProcess:
    @pytest.mark.parametrize("source", FATAL.values(), ids=FATAL)
    def test_at_import(self, install, source):
        install("brittle", {"fatal": source})
        registry = Registry()
        assert len(registry.list_models()) > 100
        assert (found(registry, "fatal").state, found(registry, "fatal").error.plugin) == ("broken", "fatal")

    @pytest.mark.parametrize("hook", ["list_models", "resolve_config", "derive_models", "fetchers"])
    @pytest.mark.parametrize("source", FATAL.values(), ids=FATAL)
    def test_in_a_hook(self, install, source, hook):
        install("brittle", {"fatal": f"@hookimpl\ndef {hook}():\n    {source}"})
        registry = Registry()
        registry.services.probe_plugins()
        assert registry.config("ViT-B-32").embed_dim == 512
        assert (found(registry, "fatal").state, found(registry, "fatal").error.hook) == ("failing", hook)

    def test_the_message_of_an_error_without_a_text(self, install):
        install("brittle", {"fatal": FATAL["unreadable"]})
        assert "Odd: (its text cannot be read). Its models" in str(found(Registry(), "fatal").error)

    @pytest.mark.parametrize("where", ["", "@hookimpl\ndef list_models():\n    "])
    def test_ctrl_c_stays_ctrl_c(self, install, where):
        install("brittle", {"fatal": f"{where}raise KeyboardInterrupt"})
        with pytest.raises(KeyboardInterrupt):
            Registry().list_models()


class TestWhatIsHandedOut:
    def test_configs_cannot_be_changed_for_others(self, install):
        spoil = (
            "@hookimpl\ndef derive_models(base):\n    for raw in base.values():\n        raw['embed_dim'] = 1\n"
            "        raw['vision_cfg'].clear()\n    base.clear()\n    return {}\n\n\n"
            "@hookimpl\ndef resolve_config(raw):\n    if raw is not None:\n        raw['embed_dim'] = 2\n"
            "        raw['text_cfg'].clear()\n"
        )
        before = Registry().config("ViT-B-32")
        install("aaa_spoiler", {"aaa_spoiler": spoil})
        registry = Registry()
        names = registry.list_models()
        assert len(names) > 100
        registry.add_config(TINY, "mine")
        assert registry.config("mine").embed_dim == 16
        assert registry.config("ViT-B-32") == Registry().config("ViT-B-32") == before


NONSENSE = {
    "a number as a model": ("list_models", "{5: {}}", "a key that is not a name"),
    "a text as a config": ("list_models", "{'a': 'b'}", "a config that is not a mapping"),
    "a tag alone": ("list_pretrained", "[('x',)]", "an item that is not a (model, tag) tuple"),
    "a number as a tag": ("list_pretrained", "[('x', 1)]", "an item that is not a (model, tag) tuple"),
    "a number as a base": ("derive_models", "{'x': 1}", "a base that is not a name"),
    "a number as a derived name": ("derive_models", "{1: 'ViT-B-32'}", "a key that is not a name"),
    "a column of numbers": ("describe_models", "{'size': {'ViT-B-32': 5}}", "a column that is not model name -> text"),
    "a column by number": ("describe_models", "{1: {}}", "a key that is not a name"),
    "a scheme by number": ("fetchers", "{1: print}", "a key that is not a name"),
}


@pytest.mark.parametrize(("hook", "answer", "fault"), NONSENSE.values(), ids=NONSENSE)
def test_nonsense_in_a_list_is_the_fault_of_its_plugin(install, hook, answer, fault):
    install("brittle", {"odd": f"@hookimpl\ndef {hook}():\n    return {answer}"})
    registry = Registry()
    registry.services.probe_plugins()
    assert len(registry.list_models()) > 100
    error = found(registry, "odd").error
    assert (error.plugin, error.hook) == ("odd", hook)
    assert f"answered its hook {hook} with {fault}. The answer was not used" in str(error)


def test_what_a_plugin_prints_stays_out_of_the_output(tmp_path):
    (tmp_path / "chatty.py").write_text("print('hello from a plugin')\n")
    info = tmp_path / "chatty-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: chatty\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[registry_core.plugins]\nchatty = chatty\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from registry_core.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, "list", "ViT-B-32", "--json"], capture_output=True, text=True, check=True
    )
    assert list(json.loads(done.stdout)) == ["ViT-B-32"]
    assert "hello from a plugin" in done.stderr
