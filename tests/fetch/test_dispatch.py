"""The fetcher of a source, and what happens if a source fails."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from registry_core import FetchError, HubFile, OfflineError, Url, Weights
from registry_core.fetch import fetch
from registry_core.fetch.contract import AbsentError


class TestSchemes:
    def test_of_plugins_receive_the_context(self, context, tmp_path):
        seen = []

        def fetcher(source, context):
            seen.append((source.url, context))
            return tmp_path

        assert fetch(Weights((Url("s3://bucket/w"),)), {"s3": fetcher}, context) == tmp_path
        assert seen == [("s3://bucket/w", context)]

    def test_that_are_unknown_are_named_with_the_known_ones(self, context):
        with pytest.raises(
            FetchError, match=r"there is no fetcher for 's3', only for vault, file, http, https, hf-hub\.$"
        ) as caught:
            fetch(Weights((Url("s3://bucket/w"),)), {"vault": lambda *_: None}, context)
        assert (caught.value.name, caught.value.expected[0]) == ("s3", "vault")

    def test_of_the_core_are_for_its_own_sources(self, context):
        class Odd:
            scheme = "https"

            def __str__(self):
                return "odd"

        with pytest.raises(
            FetchError,
            match=r"'https' belongs to the core, .* sources of the type Odd\. Give the source its own scheme",
        ) as caught:
            fetch(Weights((Odd(),)), {}, context)
        assert (caught.value.name, caught.value.found) == ("https", Odd)


class TestSeveralSources:
    def test_the_url_is_used_if_the_hub_has_no_file(self, server, context, body):
        weights = Weights(
            (HubFile("org/repo", ("w",)), Url(server.add("/w.pt", body), hashlib.sha256(body).hexdigest()))
        )
        assert fetch(weights, {}, context).path.name == "w.pt"

    def test_all_reasons_are_reported_if_every_source_fails(self, server, context):
        weights = Weights((HubFile("org/repo", ("w",)), Url(server.url + "/w.pt")), "openai")
        with pytest.raises(
            AbsentError,
            match=r"(?s)weights of tag 'openai' could not be fetched from any source:\n.*resolve/main/w .*w\.pt",
        ) as caught:
            fetch(weights, {}, context)
        assert (caught.value.name, caught.value.status) == ("openai", 404)

    def test_different_failures_are_a_fetch_error(self, server, context):
        weights = Weights((HubFile("org/repo", ("w",)), Url(server.add("/w.pt", status=[403]))))
        with pytest.raises(FetchError) as caught:
            fetch(weights, {}, context)
        assert (type(caught.value), caught.value.status) == (FetchError, None)

    def test_offline_the_error_names_the_variable(self, context):
        weights = Weights((HubFile("org/repo", ("w",)), Url("https://host.example/w.pt")), "t")
        settings = replace(context.settings, offline="HF_HUB_OFFLINE")
        with pytest.raises(OfflineError) as caught:
            fetch(weights, {}, replace(context, settings=settings))
        assert caught.value.variable == "HF_HUB_OFFLINE"
