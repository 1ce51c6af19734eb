"""The page of the drills, which stands alone: every drill with its time line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from loadtest import report
from loadtest.drills import figures
from loadtest.drills.figures import CACHED
from loadtest.drills.witnesses import READS_A_SECOND

# What is drawn as answers a second, from below; failed ones hang under the line.
LANES = {"cached": "#2e7d4f", "reads": "#2e7d9a", "writes": "#c77700"}


def write(file: Path) -> Path:
    """Render the page of a file of results beside it; returns its path."""
    results = json.loads(file.read_text())
    runs = results["runs"]
    cached = [one["classes"].get(name, {}) for one in runs if "classes" in one for name in CACHED]
    failed = sum(entry.get("failed", 0) for entry in cached)
    return report.page(
        file,
        "drills.html.j2",
        results=results,
        runs=runs,
        rounds=max((one["repeat"] for one in runs), default=0),
        head=figures.HEAD,
        rows=figures.rows(results),
        charts=[time_line(one) if "time_line" in one else "" for one in runs],
        reads=READS_A_SECOND,
        cached_failed=failed,
        cached_asked=failed + sum(entry.get("requests", 0) for entry in cached),
    )


def time_line(one: dict[str, Any]) -> str:
    """A drill second by second: answers above the line, failures below it, and what happened when."""
    figure = Figure(figsize=(8, 3.2))
    lanes = figure.subplots(len(LANES), sharex=True)
    end = int(one["moments"]["end"])
    begin = min((int(second) for kind in one["time_line"].values() for second in kind), default=0)
    places = list(range(begin, end + 1))
    for axes, (name, colour) in zip(lanes, LANES.items(), strict=True):
        counts = [one["time_line"][name].get(str(place), [0, 0]) for place in places]
        axes.bar(places, [answered for answered, _ in counts], width=1, align="edge", color=colour)
        axes.bar(places, [-failed for _, failed in counts], width=1, align="edge", color="#b3261e")
        axes.set_ylabel(name)
        for at, _ in one["marks"]:
            axes.axvline(at, color="black", linewidth=0.7, linestyle=":")
    top = lanes[0].get_ylim()[1]
    for number, (at, text) in enumerate(one["marks"]):
        place = (at, top * (1.08 + 0.28 * (number % 3)))
        lanes[0].annotate(text, place, annotation_clip=False, fontsize=7)
    lanes[-1].set_xlabel("seconds after the break (up: answered in a second; down: failed)")
    return report.svg(figure)
