"""`make table`: every parity and accuracy figure beside its target.

Writes docs/results/accuracy.md; the exit status is 1 if a target is missed.
"""

from __future__ import annotations

import sys
import time

from Testing.Benchmarks import accuracy_fields, accuracy_files, accuracy_recovery
from Testing.Benchmarks.accuracy_row import Row
from Testing.Benchmarks.machine import facts, table, write_result

PARTS = (
    ("Random fields", accuracy_fields.rows),
    ("Networks and recovery", accuracy_recovery.rows),
    ("Field files", accuracy_files.roundtrip_rows),
)


def page(parts: dict[str, list[Row]], seconds: float) -> list[str]:
    """The page as Markdown lines."""
    aimed = [row for rows in parts.values() for row in rows if row.met is not None]
    met = [row for row in aimed if row.met]
    lines = [
        "# Accuracy",
        "",
        "`make table` (`python Testing/Benchmarks/accuracy_table.py`) writes this page. It needs",
        "numbers recorded from the published program, and its 2D weights (`DRDM_SHARED`).",
        "",
        *facts("every row gives its own; 0, 1, ... where it says seeds"),
        f"- took {seconds:.0f} s; {len(met)} of {len(aimed)} targets met",
        "",
        "Exact flow: points followed through the drawn velocity in float64, without any grid of",
        "displacements in between. `of the control points`: these are followed and the result is",
        "brought to the image linearly, as all three integrations do. The targets are the figures",
        "of a study before this project, with its own seeds; its figures for the sequential loop",
        "agree with this definition. `of the image's voxels`: each voxel (3D: every fourth per",
        "axis) is followed itself. The distance between the two definitions comes from the",
        "published field, whose velocity has kinks at the control points; no integration on these",
        "points removes it.",
        "Differences are per component, in voxels of the image, over all seeds.",
        "",
        "A whole recovery is chaotic, so it is compared by its numbers; the target is the mean of",
        "8 slices in that study.",
    ]
    for title, rows in parts.items():
        head = ["what", "measured", "target", "met"]
        lines += ["", f"## {title}", "", *table(head, [row.cells() for row in rows])]
    return lines


def main() -> int:
    """Measure, write the page, and tell whether all targets are met."""
    start = time.perf_counter()
    parts = {title: list(rows()) for title, rows in PARTS}
    lines = page(parts, time.perf_counter() - start)
    write_result("accuracy.md", lines)
    print("\n".join(lines))
    return 0 if all(row.met is not False for rows in parts.values() for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
