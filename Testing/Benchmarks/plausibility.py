"""Are the generated shapes real shapes? Measure models on real subjects or phantoms.

    python Testing/Benchmarks/plausibility.py --model hippocampus-mr-3d \\
        --images FOLDER --labels FOLDER --split RUN/split.json --subjects test \\
        --seeds 3 --levels 48,64 --gains 1,1.5,2 --out docs/results/plausibility-hippocampus.md
    python Testing/Benchmarks/plausibility.py --model phantom-torso-3d \\
        --phantom torso-3d --training 0-95 --subjects 200-239 --out PAGE.md

`--images`, `--labels` and `--split` are those of the training run; `--subjects` names a part of
the split. What the model advises is used where `--levels`, `--gains` or `--steps` are left out.
The page says how its numbers are to be read. Samples are written nowhere.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from DRDMCore.atomic import write_text_whole
from DRDMCore.errors import DRDMError, InputError
from DRDMCore.models import Model
from DRDMCore.pipelines.generate import open_model
from DRDMCore.pipelines.sampling import see
from DRDMCore.pipelines.settings import SamplingSettings, resolved
from DRDMCore.recovery import VelocityStep
from Testing.Benchmarks.machine import facts
from Testing.Benchmarks.plausibility_cases import Population, from_files, from_phantoms
from Testing.Benchmarks.plausibility_page import Setting, page
from Testing.Benchmarks.plausibility_pictures import draw
from Testing.Benchmarks.plausibility_samples import make
from Testing.Benchmarks.plausibility_study import RealShapes, Record, measure_subject, summed_up

_PICTURES = 3

Chosen = list[tuple[Setting, SamplingSettings]]


@dataclass
class Results:
    """What has been measured so far, by setting; hashes by model."""

    samples: dict[Setting, list[Record]] = field(default_factory=dict)
    subjects: dict[Setting, list[Record]] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)

    def add(self, setting: Setting, measured: tuple[list[Record], Record]) -> None:
        """Take in what `measure_subject` found."""
        self.samples.setdefault(setting, []).extend(measured[0])
        self.subjects.setdefault(setting, []).append(measured[1])


def main(argv: list[str] | None = None) -> int:
    """Measure, write the page, and show it."""
    arguments = _parser().parse_args(argv)
    started = time.perf_counter()
    try:
        population = _population(arguments)
        real = RealShapes(population)
        results = _measured(arguments, population, real)
    except DRDMError as error:
        print(f"plausibility: {error}", file=sys.stderr)
        return 1
    numbers = {
        setting: summed_up(records, results.subjects[setting], real)
        for setting, records in results.samples.items()
    }
    seconds = time.perf_counter() - started
    lines = page(_facts(arguments, population, results, seconds), numbers, real)
    write_text_whole(arguments.out, "\n".join(lines) + "\n")
    if arguments.json is not None:
        _write_json(arguments.json, results, numbers, real)
    print("\n".join(lines))
    return 0


def _parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", action="append", required=True, help="name or file; may be given again")
    add("--images", type=Path, help="folder of images")
    add("--labels", type=Path, help="folder of labels")
    add("--split", type=Path, help="split.json of the training run")
    add("--subjects", default="test", help="training, validation or test; phantoms: first-last")
    add("--phantom", help="kind of phantom instead of files")
    add("--training", default="0-95", help="phantoms: seeds of the training shapes (0-95)")
    add("--seeds", type=int, default=3, help="samples per subject and setting (3)")
    add("--levels", type=_numbers(int), default=[None], help="such as 48,64")
    add("--gains", type=_numbers(float), default=[None], help="such as 1,1.5,2")
    add("--steps", type=_numbers(int), default=[None], help="passes of the network, such as 1,4,8")
    add("--border", default="fixed", help="fixed (default) or free")
    add("--border-width", type=float, default=0.1, help="of the fixed border, part of a side (0.1)")
    add("--limit", type=int, help="take only the first subjects")
    add("--device", default="cpu", help="cpu (default), cuda, cuda:1, ...")
    add("--out", type=Path, required=True, help="page to write")
    add("--json", type=Path, help="file for the numbers of every sample")
    add("--pictures", type=Path, help=f"PREFIX of {_PICTURES} pictures, of the first setting")
    return parser


def _numbers(kind: type) -> Callable[[str], list[float]]:
    """Reads numbers with commas between them."""

    def read(text: str) -> list[float]:
        return [kind(part) for part in text.split(",")]

    return read


def _population(arguments: argparse.Namespace) -> Population:
    """The subjects that the options name."""
    if arguments.seeds < 1 or (arguments.limit is not None and arguments.limit < 1):
        raise InputError(
            f"`seeds` and `limit` must be at least 1, got {arguments.seeds} and {arguments.limit}: "
            "give larger numbers."
        )
    if arguments.phantom is not None:
        return from_phantoms(
            arguments.phantom, arguments.training, arguments.subjects, arguments.limit
        )
    places = (arguments.images, arguments.labels, arguments.split)
    if None in places:
        raise InputError(
            "`images`, `labels` and `split` must be given, but one is missing: give all three, or "
            "`phantom` instead."
        )
    return from_files(*places, arguments.subjects, arguments.limit)


def _measured(arguments: argparse.Namespace, population: Population, real: RealShapes) -> Results:
    """Make and measure all samples; each subject is read once per model."""
    results = Results()
    for name in arguments.model:
        for number, case in enumerate(population.evaluated, start=1):
            image, labels = population.read(case)
            model = open_model(name, image, SamplingSettings(), arguments.device)
            for setting, sampling in _settings(arguments, model):
                subject = see(model, image, labels, sampling)
                made = [make(model, subject, case, k, sampling) for k in range(arguments.seeds)]
                results.hashes.setdefault(setting.model, model.sha256)
                results.add(setting, measure_subject(made, case, real))
                first = setting == next(iter(results.samples))
                if arguments.pictures is not None and first and number <= _PICTURES:
                    draw(subject, made[0], Path(f"{arguments.pictures}-{number}.png"))
            _tell(f"{model.card.name}: {number} of {len(population.evaluated)} subjects")
    return results


def _settings(arguments: argparse.Namespace, model: Model) -> Chosen:
    """All settings asked for, as they come out for a model."""
    name = f"{model.card.name} {model.sha256[:8]}".strip()
    steered = isinstance(model.step, VelocityStep)
    chosen = []
    gains = arguments.gains if steered else [None]
    for level, gain, steps in itertools.product(arguments.levels, gains, arguments.steps):
        asked = SamplingSettings(
            level=level,
            gain=gain,
            steps=steps,
            border=arguments.border,
            border_width=arguments.border_width,
        )
        sampling = resolved(asked, model)
        assert sampling.level is not None
        known = model.architecture["gain"] if steered and gain is None else gain
        passes = None if model.step is None else sampling.steps
        chosen.append((Setting(name, sampling.level, known, passes), sampling))
    return chosen


def _facts(
    arguments: argparse.Namespace, population: Population, results: Results, seconds: float
) -> list[str]:
    """Where, when and with what the page was made."""
    seeds = f"one per subject and number 0 .. {arguments.seeds - 1}, derived from both"
    models = [f"- model {name}: SHA-256 {sha or 'none'}" for name, sha in results.hashes.items()]
    return [
        "Written by `python Testing/Benchmarks/plausibility.py`, which says how to run it.",
        "",
        *facts(seeds),
        f"- subjects: {population.title}; {len(population.evaluated)} evaluated",
        f"- border: {_border(arguments)}",
        *models,
        f"- took {seconds:.0f} s",
    ]


def _border(arguments: argparse.Namespace) -> str:
    """What the border does, in words."""
    width = f", over {arguments.border_width:g} of each side"
    return f"{arguments.border}{width if arguments.border == 'fixed' else ''}"


def _write_json(
    path: Path, results: Results, numbers: dict[Setting, dict[str, Any]], real: RealShapes
) -> None:
    """The sums of the page, and the numbers of every sample and subject."""
    content = {
        "real": {"limit": real.limit, "unlikeness": real.unlikeness, "subjects": real.subjects},
        "settings": [
            {
                **asdict(setting),
                "summary": numbers[setting],
                "samples": records,
                "subjects": results.subjects[setting],
            }
            for setting, records in results.samples.items()
        ],
    }
    write_text_whole(path, json.dumps(content, indent=1) + "\n")


def _tell(text: str) -> None:
    """Progress goes beside the page, which is shown at the end."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
