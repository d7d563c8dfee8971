"""The command classify, called in this process and as a process of its own."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
import termios
from pathlib import Path

import pytest
import torch

from registry_core import InputError, OverrideError, Registry
from registry_core.cli import _parser, main
from registry_core.cli.classify import _classify

CAT = Path(__file__).parents[2] / "examples" / "first_model" / "cat.jpg"
WORDS = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
SIGLIP = {**WORDS, "custom_text": True, "init_logit_bias": -1.0}
LABELS = ["--labels", "cat, dog, garden gnome"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Configs and a checkpoint of `words` and `sigwords`, made once."""
    folder = tmp_path_factory.mktemp("words")
    registry = Registry()
    for name, raw in (("words", WORDS), ("sigwords", SIGLIP)):
        (folder / f"{name}.json").write_text(json.dumps(raw))
        registry.add_config(raw, name)
        torch.manual_seed(0)
        torch.save(registry.create(name, False).state_dict(), folder / f"{name}.pt")
    return folder


@pytest.fixture
def arguments(files):
    def arguments(*more, name="words", labels=LABELS):
        base = name.removeprefix("daclip_")
        chosen = ["--model", name, "--config", files / f"{base}.json", "--pretrained", files / f"{base}.pt"]
        return ["classify", *map(str, (*more, *chosen, *labels))]

    return arguments


@pytest.fixture
def call(arguments, capsys):
    """call(...) -> exit status, standard output, standard error."""

    def call(*more, **options):
        status = main(arguments(*more, **options))
        return status, *capsys.readouterr()

    return call


def error_of(error, command_line):
    """The error that the command raises."""
    options = _parser().parse_args(command_line)
    with pytest.raises(error) as caught:
        _classify(Registry(), options)
    return caught.value


def words_of(out):
    return [line.split() for line in out.splitlines()]


class TestTable:
    def test_has_a_line_for_each_label_most_probable_first(self, call):
        status, out, err = call(CAT)
        assert (status, err) == (0, "")
        header, _, *rows = words_of(out)
        assert header == ["image", "label", "probability"]
        assert rows[0][0] == str(CAT)
        found = [float(row[-1]) for row in rows]
        assert found == sorted(found, reverse=True)
        assert sum(found) == pytest.approx(1, abs=2e-4)
        assert {row[-2] for row in rows} == {"cat", "dog", "gnome"}

    def test_of_a_da_clip_has_the_degradations_too(self, call):
        _, out, _ = call(CAT, name="daclip_words")
        assert words_of(out)[0] == ["image", "aspect", "label", "probability"]
        assert len(words_of(out)) == 2 + 3 + 5
        assert "content" in out
        assert "degradation" in out

    def test_of_a_da_clip_without_labels_has_only_the_degradations(self, call):
        _, out, _ = call(CAT, "--top", "10", name="daclip_words", labels=())
        assert len(words_of(out)) == 2 + 10
        assert "content" not in out

    def test_says_that_sigmoids_are_independent(self, call):
        last = call(CAT, name="sigwords")[1].splitlines()[-1]
        assert (
            last == "The probabilities are independent (sigmoid), as this model was trained. They do not add up to 1."
        )
        assert "sigmoid" not in call(CAT)[1]

    def test_shows_as_many_as_asked_for(self, call):
        assert len(words_of(call(CAT, "--top", "1")[1])) == 3

    def test_survives_odd_file_names(self, call, tmp_path):
        names = ["猫の写真.jpg", "a\nb.jpg", "tab\t.jpg", os.fsdecode(b"\xff.jpg"), "x" * 200 + ".jpg"]
        for name in names:
            shutil.copy(CAT, tmp_path / name)
        status, out, err = call(tmp_path)
        assert (status, err) == (0, "")
        out.encode()
        lines = out.splitlines()
        assert len(lines) == 2 + 3 * len(names)
        assert "a\\nb.jpg" in out
        assert "\\udcff.jpg" in out
        from rich.cells import cell_len

        assert len({cell_len(line) for line in lines[2:]}) == 1


class TestJson:
    def test_has_an_object_for_each_image_in_order(self, call, tmp_path):
        shutil.copy(CAT, tmp_path / "second.jpg")
        status, out, err = call(CAT, "absent.jpg", tmp_path, "--json")
        first, absent, second = json.loads(out)
        assert (status, err) == (1, "")
        assert absent == {"image": "absent.jpg", "error": "No such file or directory"}
        assert [first["image"], second["image"]] == [str(CAT), str(tmp_path / "second.jpg")]
        assert set(first) == {"image", "kind", "best", "probabilities"}
        assert first["kind"] == "softmax"
        assert set(first["probabilities"]["content"]) == {"cat", "dog", "garden gnome"}
        assert first["best"]["content"] == next(iter(first["probabilities"]["content"]))

    def test_is_what_python_gives(self, call, files):
        (row,) = json.loads(call(CAT, "--json", name="daclip_words")[1])
        registry = Registry()
        registry.add_config(files / "words.json")
        model = registry.create("daclip_words", files / "words.pt")
        (result,) = registry.classifier(model, ["cat", "dog", "garden gnome"])(CAT)
        assert row["probabilities"] == result.probabilities
        assert row["best"] == result.best

    def test_has_all_labels_unless_top_is_given(self, call):
        (row,) = json.loads(call(CAT, "--json", name="daclip_words")[1])
        assert len(row["probabilities"]["degradation"]) == 10
        (row,) = json.loads(call(CAT, "--json", "--top", "2", name="daclip_words")[1])
        assert [len(found) for found in row["probabilities"].values()] == [2, 2]

    def test_of_sigmoids_says_so(self, call):
        assert json.loads(call(CAT, "--json", name="sigwords")[1])[0]["kind"] == "sigmoid"

    def test_lines_are_printed_as_soon_as_images_are_done(self, command, arguments):
        process = subprocess.Popen(
            [command, *arguments("-", "--jsonl", "--batch-size", "1")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        out, _ = process.communicate(f"{CAT}\nabsent.jpg\n\n{CAT}\n")
        rows = [json.loads(line) for line in out.splitlines()]
        assert process.returncode == 1
        assert ["error" in row for row in rows] == [False, True, False]
        assert rows[0] == rows[2]

    def test_a_reader_of_lines_may_stop_early(self, command, arguments):
        process = subprocess.Popen(
            [command, *arguments(*[CAT] * 20, "--jsonl", "--batch-size", "1")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert json.loads(process.stdout.readline())["image"] == str(CAT)
        process.stdout.close()
        assert process.stderr.read() == ""
        process.stderr.close()
        assert process.wait() == 0


class TestLabels:
    def found(self, call, *options):
        return set(json.loads(call(CAT, "--json", labels=options)[1])[0]["probabilities"]["content"])

    def test_may_hold_commas_in_quotes_or_in_a_file(self, call, tmp_path):
        assert self.found(call, "--labels", 'cat, "Washington, D.C.",5" disk,') == {
            "cat",
            "Washington, D.C.",
            '5" disk',
        }
        path = tmp_path / "labels.txt"
        path.write_text("\ufeffcat\n\n  Washington, D.C. \r\n", encoding="utf-8")
        assert self.found(call, "--labels-file", path) == {"cat", "Washington, D.C."}

    def test_are_put_into_the_templates(self, call):
        rows = [
            json.loads(call(CAT, "--json", *options)[1])[0]["probabilities"]
            for options in ([], ["--template", "a photo of a {}."], ["--template", "{}"], ["--imagenet-templates"])
        ]
        assert rows[0] == rows[1]
        assert rows[0] != rows[2] != rows[3]


class TestProgress:
    @pytest.fixture
    def shown(self, arguments, monkeypatch):
        """shown(...) -> what is printed on a real terminal, which is a pseudo-terminal."""

        def shown(*more):
            ours, theirs = pty.openpty()
            termios.tcsetwinsize(theirs, (24, 80))
            with monkeypatch.context() as patch, open(theirs, "w") as terminal:  # noqa: PTH123 - a descriptor
                patch.setattr(sys, "stderr", terminal)
                assert main(arguments(*more)) == 0
                os.set_blocking(ours, False)
                try:
                    text = os.read(ours, 1 << 16).decode()
                except BlockingIOError:
                    text = ""
            os.close(ours)
            return text

        return shown

    def test_is_shown_for_many_images_on_a_terminal_unless_quiet(self, shown):
        many = [CAT] * 9
        assert "9/9" in shown(*many)
        assert shown(*many, "--quiet") == ""
        assert shown(CAT) == ""

    def test_is_not_shown_in_a_pipe(self, call):
        assert call(*[CAT] * 9)[2] == ""


class TestMistakes:
    def test_unreadable_images_are_named_and_the_others_shown(self, call, tmp_path):
        (tmp_path / "text.jpg").write_text("no image")
        (tmp_path / "cut.jpg").write_bytes(CAT.read_bytes()[:9000])
        status, out, err = call(tmp_path, CAT, "absent.jpg")
        assert status == 1
        assert len(words_of(out)) == 2 + 3
        cut, text, absent = err.splitlines()
        assert cut.startswith(f"registry-core: {tmp_path / 'cut.jpg'}: ")
        assert "truncated" in cut
        assert text.startswith(f"registry-core: {tmp_path / 'text.jpg'}: ")
        assert absent == "registry-core: absent.jpg: No such file or directory"

    def test_unreadable_images_alone_give_only_reasons(self, call, tmp_path):
        (tmp_path / "text.jpg").write_text("no image")
        status, out, err = call(tmp_path / "text.jpg")
        assert (status, out) == (1, "")
        assert err.count("\n") == 1
        assert call("absent.jpg") == (1, "", "registry-core: absent.jpg: No such file or directory\n")

    def test_absent_images_alone_need_no_model(self, capsys):
        code = ["classify", "absent.jpg", "--model", "ViT-B-32", "--pretrained", "openai", *LABELS]
        assert main(code) == 1
        assert capsys.readouterr().err == "registry-core: absent.jpg: No such file or directory\n"

    def test_random_weights_are_refused_unless_they_are_asked_for(self, files, monkeypatch, capsys):
        monkeypatch.setenv("REGISTRY_CORE_CONFIG_PATH", str(files / "words.json"))
        code = ["classify", str(CAT), "--model", "words", *LABELS]
        error = error_of(OverrideError, code)
        assert (error.name, error.argument) == ("words", "--pretrained")
        assert str(error) == (
            "words without --pretrained has random weights, so its probabilities would mean nothing. Nothing was "
            "classified. Give a tag (`registry-core show words` lists them) or a path. To use random weights anyway, "
            "give --random."
        )
        assert main([*code, "--random"]) == 0
        assert capsys.readouterr().err == ""

    def test_a_name_with_weights_of_its_own_needs_no_more(self, files, tmp_path, capsys):
        registry = Registry()
        registry.add_config(files / "words.json")
        folder = registry.save(registry.create("words", files / "words.pt"), tmp_path / "saved")
        assert main(["classify", str(CAT), "--model", f"local-dir:{folder}", *LABELS]) == 0
        assert "garden gnome" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("options", "fact"),
        [
            (["--batch-size", "0"], "batch_size=0"),
            (["--template", "a photo"], "'a photo'"),
            (["--set", "image_sise=3"], "image_sise"),
            (["--random"], "--random"),
            (["--precision", "fp31"], "fp31"),
        ],
    )
    def test_are_one_message(self, call, options, fact):
        status, out, err = call(CAT, *options)
        assert (status, out) == (1, "")
        assert err.startswith("registry-core: ")
        assert fact in err

    def test_a_number_of_labels_that_is_not_positive(self, arguments):
        error = error_of(InputError, arguments(CAT, "--top", "0"))
        assert (error.argument, error.found) == ("--top", 0)
        assert str(error) == "--top 0: expected a positive number of labels. Nothing was classified."

    def test_labels_in_several_lines_are_several(self, call):
        status, out, _ = call(CAT, "--json", labels=("--labels", 'cat\ndog, "garden\ngnome"\n'))
        assert status == 0
        assert sorted(json.loads(out)[0]["probabilities"]["content"]) == ["cat", "dog", "garden\ngnome"]

    def test_no_labels(self, call):
        status, out, err = call(CAT, labels=())
        assert (status, out) == (1, "")
        assert err.startswith("registry-core: No labels were given")

    def test_a_labels_file_that_does_not_exist(self, arguments):
        error = error_of(InputError, arguments(CAT, labels=("--labels-file", "nowhere.txt")))
        assert (error.argument, str(error.path)) == ("--labels-file", "nowhere.txt")
        assert str(error).startswith("--labels-file nowhere.txt could not be read: ")
        assert str(error).endswith("Expected UTF-8 text with one label per line. Nothing was classified.")

    @pytest.mark.parametrize("library", ["PIL", "tiktoken"])
    def test_a_missing_library_is_named_with_its_extra(self, arguments, library):
        code = f"import sys; sys.modules[{library!r}] = None; from registry_core.cli import main; sys.exit(main())"
        done = subprocess.run(
            [sys.executable, "-P", "-c", code, *arguments(CAT)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert re.search(rf"{library}\S* is not installed", done.stderr)
        assert f"pip install 'registry_core[{'text' if library == 'tiktoken' else 'image'}]'" in done.stderr
