"""Names that more than one plugin provides. tests/thirdparty/test_faults.py tests what the commands show of them."""

from __future__ import annotations

from registry_core.diagnose.conflicts import find_conflicts


def test_the_shipped_plugins_have_none(registry):
    assert find_conflicts(registry.services) == []


def test_a_model(registry, add_plugin):
    rival = add_plugin("rival", list_models=lambda: {"ViT-B-32": {}})
    found = next(found for found in find_conflicts(registry.services) if found.what == "model 'ViT-B-32'")
    assert [plugin.name for plugin in found.plugins] == ["openai_clip", "rival"]
    assert found.plugins[1] is rival
    assert found.advice == "use 'openai_clip::ViT-B-32' or 'rival::ViT-B-32', or switch one off"
    assert str(found) == (
        f"model 'ViT-B-32' is provided by {found.plugins[0]} and by rival ((registered)); {found.advice}"
    )


def test_a_listed_and_a_derived_model(registry, add_plugin):
    add_plugin("rival", list_models=lambda: {"daclip_ViT-B-32": {}})
    found = next(found for found in find_conflicts(registry.services) if found.what == "model 'daclip_ViT-B-32'")
    assert {plugin.name for plugin in found.plugins} == {"daclip", "rival"}


def test_a_tag(registry, add_plugin):
    add_plugin("rival", list_pretrained=lambda: [("ViT-B-32", "openai"), ("ViT-B-32", "openai")])
    (found,) = find_conflicts(registry.services)
    assert found.what == "tag 'openai' of 'ViT-B-32'"
    assert [plugin.name for plugin in found.plugins] == ["openai_clip", "rival"]
    assert found.advice == "use the tag of 'openai_clip::ViT-B-32' or 'rival::ViT-B-32', or switch one off"


def test_a_scheme(registry, add_plugin):
    for name in ("store", "shop"):
        add_plugin(name, fetchers=lambda: {"vault": lambda source, folder: None})  # noqa: ARG005 - arguments by name
    (found,) = find_conflicts(registry.services)
    assert found.what == "scheme 'vault'"
    assert {plugin.name for plugin in found.plugins} == {"store", "shop"}
    assert found.advice == "nothing is fetched until one is switched off"


def test_answers_of_the_wrong_type_are_left_out(registry, add_plugin):
    add_plugin("odd", list_models=lambda: 3, list_pretrained=lambda: {"ViT-B-32"}, fetchers=lambda: ["file"])
    assert find_conflicts(registry.services) == []
