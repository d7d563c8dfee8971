"""Measure the time and the memory of creating a ViT-B-32 of 605 MB from a file.

    python benchmarks/creation.py [--rounds 7] [--json FILE] [--folder FOLDER]

It writes random weights into a temporary folder. It measures registry_core, open_clip, transformers, and a bare read of
the file, which no loader can beat. All files are in the page cache, so that the disk is not part of the comparison.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from measure import Runs, cache_file, interleaved, median, process_peak, process_seconds, seconds

MODEL = "ViT-B-32"
MEGABYTE = 1e6
KINDS = ("pt", "safetensors")
TOLERATED = 0.05  # difference between the peak of a bare read and the file's size, as a share of the size


@dataclass(frozen=True)
class Files:
    """The same random weights, in the format that each loader reads."""

    pt: Path
    safetensors: Path
    transformers: Path | None

    def of(self, kind: str) -> Path:
        """Return the checkpoint of a kind."""
        return self.pt if kind == "pt" else self.safetensors


@dataclass(frozen=True)
class Finding:
    """A ratio and its target."""

    what: str
    figure: str
    target: str
    reached: bool | None


def write_files(folder: Path) -> Files:
    import torch
    from safetensors.torch import save_file

    from registry_core import registry

    files = Files(folder / "model.pt", folder / "model.safetensors", folder / "hf" if has("transformers") else None)
    state = registry.create(MODEL, pretrained=False).state_dict()
    torch.save(state, files.pt)
    save_file(state, files.safetensors)
    if files.transformers is not None:
        from transformers import CLIPConfig, CLIPModel

        # The configuration's defaults are those of ViT-B-32.
        CLIPModel(CLIPConfig()).save_pretrained(files.transformers)
        cache_file(files.transformers / "model.safetensors")
    cache_file(files.pt)
    cache_file(files.safetensors)
    return files


def has(package: str) -> bool:
    return find_spec(package) is not None


def creators(files: Files) -> dict[str, Callable[[], object]]:
    """Return name -> a function that creates a model in this process, or reads its bytes."""
    from registry_core import registry

    found: dict[str, Callable[[], object]] = {}
    for kind in KINDS:
        path = files.of(kind)
        found[f"registry_core, {kind}"] = lambda path=path: registry.create(MODEL, path)
        found[f"registry_core mmap, {kind}"] = lambda path=path: registry.create(MODEL, path, mmap=True)
        found[f"bare read, {kind}"] = path.read_bytes
        if has("open_clip"):
            import open_clip

            found[f"open_clip, {kind}"] = lambda path=path: open_clip.create_model(MODEL, str(path))
    if files.transformers is not None:
        from transformers import CLIPModel

        found["transformers, safetensors"] = lambda: CLIPModel.from_pretrained(files.transformers)
    return found


def programs(path: Path) -> dict[str, str]:
    """Return name -> a program that ends with the model, or the bytes, in memory."""
    found = {
        "registry_core": (
            f"import torch\nfrom registry_core import registry\nm = registry.create({MODEL!r}, {str(path)!r})"
        ),
        "bare read": f"import torch\nd = open({str(path)!r}, 'rb').read()",
    }
    if has("open_clip"):
        found["open_clip"] = (
            "import warnings; warnings.simplefilter('ignore')\nimport torch, open_clip\n"
            f"m = open_clip.create_model({MODEL!r}, {str(path)!r})"
        )
    return found


def measure_creation(files: Files, rounds: int) -> Runs:
    return interleaved({name: seconds(create) for name, create in creators(files).items()}, rounds)


def measure_processes(files: Files, rounds: int) -> Runs:
    return interleaved({name: process_seconds(code) for name, code in programs(files.pt).items()}, rounds)


def measure_memory(files: Files, rounds: int) -> Runs:
    """Return the peaks minus that of a process that only imports torch, as shares of the checkpoint's size."""
    kinds = {"import torch": process_peak("import torch")}
    for kind in KINDS:
        for name, code in programs(files.of(kind)).items():
            kinds[f"{name}, {kind}"] = process_peak(code)
    peaks = interleaved(kinds, rounds)
    floor = median(peaks.pop("import torch"))
    sizes = {kind: files.of(kind).stat().st_size for kind in KINDS}
    shares = {
        name: [(peak - floor) / sizes[name.rpartition(" ")[2]] for peak in found] for name, found in peaks.items()
    }
    check_memory(shares)
    return shares


def check_memory(shares: Runs) -> None:
    """Check the measurement: a bare read holds the whole file, so its peak must be about the file's size."""
    for kind in KINDS:
        share = median(shares[f"bare read, {kind}"])
        if abs(share - 1) > TOLERATED:
            raise RuntimeError(f"A bare read of the {kind} file peaked at {share:.3f} of its size, expected about 1.")


def judge(creation: Runs, processes: Runs, memory: Runs) -> list[Finding]:
    """Return each ratio with its target. The rows of a library that is absent say so."""
    findings = []
    for kind in KINDS:
        ours, mapped = median(creation[f"registry_core, {kind}"]), median(creation[f"registry_core mmap, {kind}"])
        bare, theirs = median(creation[f"bare read, {kind}"]), creation.get(f"open_clip, {kind}")
        limit = 1.5 * bare + 0.1
        findings += [
            faster(f"create, {kind}: times faster than open_clip", ours, theirs, 4),
            Finding(f"create, {kind}: against a bare read", f"{ours / bare:.2f} x", "1.5 x + 0.1 s", ours <= limit),
            faster(f"create mapped, {kind}: times faster than open_clip", mapped, theirs, 12),
        ]
    mapped = median(creation["registry_core mmap, safetensors"])
    others = creation.get("transformers, safetensors")
    findings.append(faster("create mapped: times faster than transformers", mapped, others, 1))
    ours, bare = median(processes["registry_core"]), median(processes["bare read"])
    findings += [
        at_most("whole process: against torch and a bare read", ours / bare, 1.3),
        faster("whole process: times faster than open_clip", ours, processes.get("open_clip"), None),
    ]
    findings += [
        at_most(f"peak memory over torch, {kind}: checkpoints", median(memory[f"registry_core, {kind}"]), 1.15)
        for kind in KINDS
    ]
    return findings


def faster(what: str, ours: float, theirs: list[float] | None, target: float | None) -> Finding:
    wanted = "" if target is None else f">= {target} x"
    if theirs is None:
        return Finding(what, "not installed", wanted, None)
    ratio = median(theirs) / ours
    return Finding(what, f"{ratio:.1f} x", wanted, None if target is None else ratio >= target)


def at_most(what: str, figure: float, target: float) -> Finding:
    return Finding(what, f"{figure:.2f} x", f"<= {target} x", figure <= target)


def print_runs(title: str, runs: Runs, unit: str) -> None:
    print(f"\n{title}\n  {'':32} {'median':>9} {'least':>9} {'most':>9}")
    for name, figures in runs.items():
        print(f"  {name:32} {median(figures):7.3f} {unit} {min(figures):7.3f} {unit} {max(figures):7.3f} {unit}")


def print_findings(findings: list[Finding]) -> None:
    print(f"\nRatios of medians\n  {'':52} {'figure':>13} {'target':>14}")
    for finding in findings:
        verdict = {True: "reached", False: "MISSED", None: ""}[finding.reached]
        print(f"  {finding.what:52} {finding.figure:>13} {finding.target:>14}  {verdict}")


def machine() -> str:
    import torch

    load = ", ".join(f"{value:.2f}" for value in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown"
    return f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, load {load}"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="number of measurements of each kind (default 7)")
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    parser.add_argument("--folder", type=Path, help="folder for 1.8 GB of temporary files (default: the system's)")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    # open_clip and transformers emit warnings and log records whenever they create a model.
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    os.environ["HF_HUB_OFFLINE"] = os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    before = machine()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        files = write_files(Path(folder))
        size = files.pt.stat().st_size
        print(f"{MODEL}, {size / MEGABYTE:.0f} MB, median of {arguments.rounds}; {before}")
        creation = measure_creation(files, arguments.rounds)
        print_runs("Creation in a running process", creation, "s")
        processes = measure_processes(files, arguments.rounds)
        print_runs("Whole processes, pt", processes, "s")
        memory = measure_memory(files, arguments.rounds)
        print_runs("Peak memory over `import torch`, in checkpoints", memory, "x")
    findings = judge(creation, processes, memory)
    print_findings(findings)
    after = machine()
    print(f"\nAt the end: {after}")
    if arguments.json is not None:
        figures = {"creation": creation, "processes": processes, "memory": memory}
        result = {"machine": [before, after], "bytes": size, **figures, "ratios": [asdict(f) for f in findings]}
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
