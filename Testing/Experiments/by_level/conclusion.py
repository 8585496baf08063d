"""The conclusion in words, made from the numbers: which level, and what speaks for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from Testing.Benchmarks.machine import table
from Testing.Experiments.by_level.choice import (
    DIVERSE,
    FARTHER,
    SHRUNK,
    Judged,
    Summaries,
    judge,
    recommended,
)
from Testing.Experiments.by_level.numbers import (
    FEW,
    Measure,
    Summary,
)
from Testing.Experiments.by_level.plan import (
    CHOOSING,
    MATCHED,
    RANDOM,
    REAL,
    RECOVERED,
    REPORTED,
    Plan,
)
from Testing.Experiments.by_level.wording import ranged


def conclusion(plan: Plan, summaries: Summaries) -> list[str]:
    """The rule with its table, and what follows, as Markdown lines."""
    judged = judge(plan, summaries)
    chosen = recommended(judged)
    return [
        "## Which level",
        "",
        f"A level is sound if, on the {CHOOSING} subjects, its samples are nearer to real shapes "
        "than random fields of the same size (95 % interval of the difference below 0), their mean "
        f"shape distance is at most {FARTHER:g} times that of real subjects, and their mean volume "
        f"is within {100 * SHRUNK:.0f} % of the originals'. It fits if its diversity is also at "
        f"least {DIVERSE:g} of that of the most diverse sound level. To start from, the one is "
        f"taken with which {FEW} subjects cover most.",
        "",
        *table(_HEAD, [_row(each, chosen) for each in judged]),
        "",
        "## Conclusion",
        "",
        *_advice(plan, judged, chosen),
        *_confirmed(plan, summaries, judged),
        *_figures(plan, summaries, chosen),
    ]


_HEAD = [
    *("level", "nearer than matched, mm", "distance / real", "volume / original"),
    *("beyond %", f"of {FEW} %", "diversity", "fits"),
]


def _row(each: Judged, chosen: Judged | None) -> list[str]:
    """One level."""
    failed = {
        "recovery does not help": each.helps,
        "too far": each.plausible,
        "volume": each.keeps_volume,
        "little diversity": each.diverse,
    }
    reasons = ", ".join(reason for reason, kept in failed.items() if not kept)
    told = "**yes, to start from**" if each is chosen else "yes"
    return [
        *(str(each.level), ranged(each.nearer, "+.3f"), f"{each.farther:.2f}"),
        *(ranged(each.volume), ranged(each.beyond, ".0f"), ranged(each.few, ".1f", 100)),
        f"{each.diversity:.2f}",
        f"no: {reasons}" if reasons else told,
    ]


def _advice(plan: Plan, judged: Sequence[Judged], chosen: Judged | None) -> list[str]:
    """Which levels, and why not others."""
    if chosen is None:
        return ["- **No level fits.** The table says what each of them lacks."]
    fitting = [each.level for each in judged if each.fits]
    fits = "fits" if plan.recommended in fitting else "does not fit"
    reasons = {
        "recovery is not surely better than a random field of the same size, as so small a "
        "deformation is plausible anyhow": [each for each in judged if not each.helps],
        "shapes move too far from real ones": [each for each in judged if not each.plausible],
        "volumes change too much": [each for each in judged if not each.keeps_volume],
        "samples of a subject differ little": [each for each in judged if not each.diverse],
    }
    covering = [100 * each.few.value for each in judged if each.fits]
    return [
        f"- **Recommended: {_levels(fitting)}; to start from: {chosen.level}.** The card says "
        f"{plan.recommended}, which {fits}. Over the levels that fit, {FEW} subjects with their "
        f"samples cover {min(covering):.1f} to {max(covering):.1f} %: where to start among them "
        "matters little.",
        *(
            f"- At {_levels([each.level for each in lacking])} {reason}."
            for reason, lacking in reasons.items()
            if lacking
        ),
    ]


def _confirmed(plan: Plan, summaries: Summaries, judged: Sequence[Judged]) -> list[str]:
    """What the same rule says on the subjects that are reported."""
    again = judge(plan, summaries, REPORTED)
    fitting = {each.level for each in judged if each.fits}
    both = [each.level for each in again if each.fits and each.level in fitting]
    others = [each for each in again if not each.fits and each.level in fitting]
    if not fitting:
        return []
    agreed = (
        f"{_levels(both)} {'fit' if len(both) > 1 else 'fits'}" if both else "none of them fits"
    )
    reasons = "; ".join(
        f"{each.level}: distance {each.farther:.2f} of real, volume {each.volume.value:.2f}"
        for each in others
    )
    told = f", others are near the limits ({reasons}): the levels confirmed are the safer choice"
    return [
        f"- Checked by the same rule on the {REPORTED} subjects: {agreed}{told if others else ''}."
    ]


def _levels(levels: Sequence[int]) -> str:
    """Levels in words."""
    return f"level{'s' if len(levels) > 1 else ''} {', '.join(map(str, levels))}"


@dataclass(frozen=True)
class _Compared:
    """A measure by which recovered samples are held against random ones.

    Attributes:
        title: In words.
        name: Of the measure.
        form: How it is written.
        factor: It is multiplied by.
        badness: How far it is from what is best.
    """

    title: str
    name: str
    form: str
    factor: float
    badness: Callable[[Measure], Measure]


def _low(ours: Measure) -> Measure:
    """The less the better."""
    return ours


def _high(ours: Measure) -> Measure:
    """The more the better."""
    return Measure(-ours.value, -ours.draws)


def _off_one(ours: Measure) -> Measure:
    """The nearer to 1 the better."""
    return Measure(abs(ours.value - 1), abs(ours.draws - 1))


_COMPARED = (
    _Compared("shape distance, mm", "distance_mm", ".3f", 1, _low),
    _Compared("beyond the real shapes, %", "beyond", ".0f", 1, _low),
    _Compared("coverage, %", "coverage", ".0f", 100, _high),
    _Compared("diversity", "diversity", ".2f", 1, _off_one),
    _Compared("mean volume / original", "ratio_all", ".2f", 1, _off_one),
    _Compared("sd of volumes / real", "spread_all", ".2f", 1, _off_one),
    _Compared("sd of log det J", "log_det_sd", ".3f", 1, _low),
    _Compared("NCC with the original", "ncc", ".2f", 1, _high),
)


def _figures(plan: Plan, summaries: Summaries, chosen: Judged | None) -> list[str]:
    """What comes out there on the subjects that are reported, for and against recovery."""
    nearest = min(plan.levels, key=lambda each: abs(each - plan.recommended))
    level = nearest if chosen is None else chosen.level
    ours, matched, random = (
        summaries[REPORTED, kind, level] for kind in (RECOVERED, MATCHED, RANDOM)
    )
    real = summaries[REPORTED, REAL, None]
    better: list[str] = []
    worse: list[str] = []
    same: list[str] = []
    for each in _COMPARED:
        difference = each.badness(ours[each.name]).minus(each.badness(matched[each.name]))
        interval = difference.interval
        values = " against ".join(
            f"{each.factor * side[each.name].value:{each.form}}" for side in (ours, matched)
        )
        sure = interval is not None and (interval[0] > 0 or interval[1] < 0)
        place = same if not sure else better if difference.value < 0 else worse
        place.append(f"{each.title} {values}")
    return [
        f"- At level {level}, on the {REPORTED} subjects: excess {ranged(ours['excess'])}, "
        f"rigid-free {ranged(ours['rigid_free_excess'])}; {ranged(ours['mean_voxels'])} voxels, "
        f"{100 * ours['kept'].value:.0f} % of the random start; coverage minus that of as many "
        f"real subjects {ranged(ours['coverage_gap'], '+.0f', 100)} points.",
        f"- Recovered better than random of the same size: {_listed(better)}.",
        f"- **Random of the same size better than recovered**: {_listed(worse)}.",
        f"- No sure difference: {_listed(same)}.",
        f"- The random field of the level itself is more diverse "
        f"({ranged(random['diversity'])}), but {ranged(random['beyond'], '.0f')} % of its shapes "
        f"lie beyond the real ones (real: {real['beyond'].value:.0f} %) and it covers "
        f"{ranged(random['coverage'], '.0f', 100)} % of the training shapes (real: "
        f"{100 * real['coverage'].value:.0f} %).",
        _as_plausible(plan, summaries, level),
        _shrinking(ours, matched),
        *_over_levels(plan, summaries),
    ]


def _shrinking(ours: Summary, matched: Summary) -> str:
    """Whether shapes grow or shrink."""
    interval = ours["ratio_all"].interval
    told = "Volumes of recovered shapes"
    if interval is not None and interval[1] < 1:
        told = "**Recovered shapes shrink**"
    elif interval is not None and interval[0] > 1:
        told = "**Recovered shapes grow**"
    return f"- {told}: {_volumes(ours)} of the originals'; matched: {_volumes(matched)}."


def _over_levels(plan: Plan, summaries: Summaries) -> list[str]:
    """What changes from the lowest to the highest level."""
    first, last = (summaries[REPORTED, RECOVERED, plan.levels[k]] for k in (0, -1))
    starts = [summaries[REPORTED, RANDOM, plan.levels[k]]["mean_voxels"].value for k in (0, -1)]
    titles = (
        ("displacement", "mean_voxels", ".2f", 1, " voxels"),
        ("coverage", "coverage", ".0f", 100, " %"),
        ("diversity", "diversity", ".2f", 1, ""),
        ("volume", "ratio_all", ".2f", 1, " of the original"),
        ("NCC", "ncc", ".2f", 1, ""),
    )
    changes = "; ".join(
        f"{title} {factor * first[name].value:{form}} to {factor * last[name].value:{form}}{unit}"
        for title, name, form, factor, unit in titles
    )
    lines = [
        f"- From level {plan.levels[0]} to {plan.levels[-1]} the random start grows from "
        f"{starts[0]:.2f} to {starts[1]:.2f} voxels; recovered: {changes}."
    ]
    more = [e for e in plan.levels if summaries[REPORTED, RECOVERED, e]["kept"].value > 1]
    if more:
        lines.append(f"- At {_levels(more)} recovery moves more than the start that it is given.")
    return lines


def _as_plausible(plan: Plan, summaries: Summaries, level: int) -> str:
    """What a random field does whose shapes are as near to real ones, between the levels."""
    ours, real = summaries[REPORTED, RECOVERED, level], summaries[REPORTED, REAL, None]
    wanted, floor = (each["distance_mm"].value for each in (ours, real))
    if wanted <= floor:
        return (
            f"- Its shapes are nearer to the training shapes ({wanted:.3f} mm) than real subjects "
            f"are ({floor:.3f} mm): recovery draws them towards the middle of the population."
        )
    rows = [[floor, 0.0, 0.0, real["few"].value]]
    names = ("distance_mm", "mean_voxels", "diversity", "few")
    for each in plan.levels:
        random = summaries[REPORTED, RANDOM, each]
        rows.append([random[name].value for name in names])
    distances, *columns = np.array(rows).T
    rising = np.maximum.accumulate(distances)
    voxels, diversity, few = (float(np.interp(wanted, rising, each)) for each in columns)
    return (
        "- **As plausible**: the random field whose shapes are just as near to real ones (between "
        f"the levels measured) moves {voxels:.2f} voxels (recovered "
        f"{ours['mean_voxels'].value:.2f}), its diversity is {diversity:.2f} "
        f"({ours['diversity'].value:.2f}), and {FEW} subjects with it cover {100 * few:.1f} % "
        f"({100 * ours['few'].value:.1f} %; alone {100 * real['few'].value:.1f} %)."
    )


def _listed(parts: Sequence[str]) -> str:
    """Parts with semicolons, or that there are none."""
    return "; ".join(parts) or "nothing"


def _volumes(numbers: Summary) -> str:
    """Mean volume of each label."""
    names = [name for name in numbers if name.startswith("ratio_") and "_sd_" not in name]
    titles = {name: name.removeprefix("ratio_") for name in names}
    return ", ".join(
        f"{'all labels' if title == 'all' else f'label {title}'} {ranged(numbers[name])}"
        for name, title in titles.items()
    )
