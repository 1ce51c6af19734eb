"""Turns a file of results into a page that stands alone, and into the README's table."""

from __future__ import annotations

import io
import json
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from jinja2 import Environment, FileSystemLoader
from matplotlib.figure import Figure

from loadtest.capacity import GROUPS
from loadtest.ladder import PEOPLE, SPOKEN, STEPS, Step
from loadtest.results import merged, percentile

mpl.rcParams.update({"svg.fonttype": "none", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})

# What the talk measured: requests/s and mean response in milliseconds, from its transcript.
TALK = {
    "runserver-1-50": (28.2, 1353),
    "uwsgi-1-50": (72.4, 279),
    "uwsgi-1-100": (101, 750),
    "balanced-2-100": (137.4, 403),
    "balanced-2-200": (166, 1005),
    "cached-2-200": (456, 203),
    "cached-2-400": (476, 360),
}


def requests_per_second(run: dict[str, Any]) -> float:
    return float(run["requests_per_second"])


def p95(run: dict[str, Any]) -> float | None:
    """Of all requests of a run, in milliseconds."""
    return percentile(merged(run["histogram"].values()), 0.95)


# What is held against what, in the same round: title, a step, another step, the talk's ratio, and of which figure.
RATIOS = (
    ("uWSGI / runserver, 50 users", "uwsgi-1-50", "runserver-1-50", 2.57, requests_per_second),
    ("runserver / uWSGI, 50 users, 95th percentile", "runserver-1-50", "uwsgi-1-50", None, p95),
    ("balanced with 2 web hosts / uWSGI with 1", "balanced-2-100", "uwsgi-1-100", 1.90, requests_per_second),
    ("cached / balanced, 200 users", "cached-2-200", "balanced-2-200", 2.75, requests_per_second),
    ("cached / runserver", "cached-2-200", "runserver-1-50", 16.2, requests_per_second),
    ("cached / balanced, spoken mix", "cached-2-200-spoken", "balanced-2-200-spoken", 2.75, requests_per_second),
    ("cached / runserver, spoken mix", "cached-2-200-spoken", "runserver-1-50-spoken", 16.2, requests_per_second),
    ("3 web hosts / 1, cached, 200 users", "cached-3-200", "cached-1-200", None, requests_per_second),
    ("3 web hosts / 1, balanced, 200 users", "balanced-3-200", "balanced-1-200", None, requests_per_second),
)
COLOURS = {"runserver": "#8d6e63", "uwsgi": "#c77700", "balanced": "#2e7d9a", "cached": "#2e7d4f"}
OUTCOMES = {"hit": "#2e7d4f", "stale": "#9acd9f", "miss": "#c77700", "pass": "#8a4f9e", "none": "#8d6e63"}


@dataclass(frozen=True)
class Row:
    """A step's runs, by medians; `low` and `high` are of requests/s. Times are in milliseconds."""

    step: Step
    runs: int
    errors: list[str]
    rate: float | None = None
    low: float | None = None
    high: float | None = None
    mean: float | None = None
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    failed: int = 0
    requests: int = 0
    hit_ratio: float | None = None
    web_ms: float | None = None
    generator: float | None = None

    is_people: bool = True

    @property
    def talk(self) -> tuple[float, float] | None:
        """What the talk measured, for its own plan."""
        return TALK.get(self.step.name) if self.is_people else None

    @property
    def asked(self) -> int:
        """Requests that were sent: answered ones and failed ones."""
        return self.requests + self.failed


def rows(results: dict[str, Any]) -> list[Row]:
    """One row for each step that was tried, in the order of the ladder."""
    by_step: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for run in results["runs"]:
        by_step[run["step"]].append(run)
    return [
        _row(step, by_step[step.name], results["settings"])
        for step in sorted((*STEPS, *SPOKEN), key=_order)
        if by_step[step.name]
    ]


def _order(step: Step) -> tuple[str, int, int, int]:
    return (step.mix, list(COLOURS).index(step.rung), step.web, step.users)


def _row(step: Step, runs: list[dict[str, Any]], settings: dict[str, Any]) -> Row:
    good = [run for run in runs if "error" not in run]
    errors = [run["error"] for run in runs if "error" in run]
    if not good:
        return Row(step, 0, errors)

    def median(values: list[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return statistics.median(known) if known else None

    rates = [run["requests_per_second"] for run in good]
    times = [merged(run["histogram"].values()) for run in good]
    means = [sum(time * count for time, count in some) / max(sum(count for _, count in some), 1) for some in times]
    return Row(
        step,
        len(good),
        errors,
        rate=statistics.median(rates),
        low=min(rates),
        high=max(rates),
        mean=median(list(means)),
        p50=median([percentile(some, 0.5) for some in times]),
        p95=median([percentile(some, 0.95) for some in times]),
        p99=median([percentile(some, 0.99) for some in times]),
        is_people=settings.get("plan", PEOPLE) == PEOPLE,
        failed=sum(run["failed"] for run in good),
        requests=sum(run["requests"] for run in good),
        hit_ratio=median([run["hit_ratio"] for run in good]),
        web_ms=median([_web_cpu(run) for run in good]),
        generator=median([run["generator"]["cpu_seconds"] / settings["seconds"] for run in good]),
    )


def _web_cpu(run: dict[str, Any]) -> float:
    """CPU milliseconds of the web hosts for one request of the mix, hits included."""
    return float(sum(run["hosts"][name]["cpu_ms_per_request"] for name in run["web_hosts"]))


def ratios(results: dict[str, Any]) -> list[dict[str, Any]]:
    """The ratios of RATIOS, each of one round; median, lowest and highest."""
    runs = {(run["step"], run["repeat"]): run for run in results["runs"] if "error" not in run}
    rounds = sorted({repeat for _, repeat in runs})
    found = []
    for title, above, below, talk, figure in RATIOS:
        pairs = [
            (figure(runs[above, n]), figure(runs[below, n])) for n in rounds if {(above, n), (below, n)} <= {*runs}
        ]
        values = [one / other for one, other in pairs if one and other]
        if values:
            entry = {"title": title, "median": statistics.median(values), "low": min(values), "high": max(values)}
            found.append(entry | {"talk": talk, "rounds": len(values)})
    return found


def svg(figure: Figure) -> str:
    """A figure as text that can stand in a page."""
    out = io.StringIO()
    figure.savefig(out, format="svg", bbox_inches="tight", metadata={"Date": None})
    return out.getvalue()[out.getvalue().index("<svg") :]


def throughput(found: list[Row]) -> str:
    """Requests a second, step by step, with the spread and the talk's own figures."""
    shown = [row for row in found if row.rate]
    figure = Figure(figsize=(8, 0.42 * len(shown) + 0.9))
    axes = figure.subplots()
    for place, row in enumerate(shown):
        assert row.rate is not None and row.low is not None and row.high is not None
        axes.barh(place, row.rate, color=COLOURS[row.step.rung], height=0.62)
        axes.plot([row.low, row.high], [place, place], color="black", linewidth=1)
        if row.talk:
            axes.plot(row.talk[0], place, "D", color="white", markeredgecolor="black", markersize=6)
        axes.annotate(f" {row.rate:,.0f}", (row.high, place), va="center")
    axes.set_yticks(range(len(shown)), [str(row.step) for row in shown])
    axes.invert_yaxis()
    axes.set_xlabel("requests/s (bar: median; line: lowest to highest round; diamond: the talk)")
    return svg(figure)


def latency(found: list[Row]) -> str:
    """Response times, step by step: median to 99th percentile, on a logarithmic scale."""
    shown = [row for row in found if row.p50]
    figure = Figure(figsize=(8, 0.42 * len(shown) + 0.9))
    axes = figure.subplots()
    for place, row in enumerate(shown):
        assert row.p50 and row.p95 and row.p99
        axes.plot([row.p50, row.p99], [place, place], color=COLOURS[row.step.rung], linewidth=3, alpha=0.4)
        for value, marker in ((row.p50, "o"), (row.p95, "s"), (row.p99, "|")):
            axes.plot(value, place, marker, color=COLOURS[row.step.rung], markersize=7)
    axes.set_xscale("log")
    axes.set_yticks(range(len(shown)), [str(row.step) for row in shown])
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds (circle: median; square: 95 of 100; bar: 99 of 100)")
    return svg(figure)


def hits(results: dict[str, Any]) -> str:
    """How long hits and misses took at the top of the ladder, as varnishhist shows it."""
    runs = [run for run in results["runs"] if run["step"] == "cached-2-200" and "error" not in run]
    if not runs:
        return ""
    edges = [10 ** (power / 6) for power in range(-6, 31)]
    figure = Figure(figsize=(8, 2.6))
    axes = figure.subplots()
    values, weights, labels, colours = [], [], [], []
    for outcome, colour in OUTCOMES.items():
        times = merged(run["histogram"].get(outcome, {}) for run in runs)
        if times:
            values.append([time for time, _ in times])
            weights.append([count for _, count in times])
            labels.append(f"{outcome} ({sum(count for _, count in times):,})")
            colours.append(colour)
    axes.hist(values, bins=edges, weights=weights, label=labels, color=colours, stacked=True)
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds")
    axes.set_ylabel("requests")
    axes.legend(frameon=False)
    return svg(figure)


def time_line(finale: dict[str, Any]) -> str:
    """The finale: answered and failed requests, second by second."""
    if not finale.get("seconds"):
        return ""
    figure = Figure(figsize=(8, 2.8))
    axes = figure.subplots()
    last = max(int(second) for by_second in finale["seconds"].values() for second in by_second)
    places = list(range(last + 1))
    cached = [sum(_of(finale, name, s)[0] for name in ("home", "hot profile")) for s in places]
    others = [sum(_of(finale, name, s)[0] for name in finale["seconds"]) - cached[s] for s in places]
    failed = [-sum(_of(finale, name, s)[1] for name in finale["seconds"]) for s in places]
    axes.stackplot(
        places, cached, others, colors=["#2e7d4f", "#c77700"], labels=["home and hot profiles", "all others"]
    )
    axes.fill_between(places, failed, color="#b3261e", label="failed")
    for moment in ("off", "on"):
        axes.axvline(finale[moment], color="black", linewidth=0.8, linestyle=":")
        axes.annotate(f" {moment}", (finale[moment], axes.get_ylim()[1]), va="bottom", ha="center")
    axes.set_xlabel("seconds")
    axes.set_ylabel("requests/s")
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.1), ncols=3)
    return svg(figure)


def _of(finale: dict[str, Any], name: str, second: int) -> tuple[int, int]:
    answered, failed = finale["seconds"].get(name, {}).get(str(second), (0, 0))
    return answered, failed


def number(value: float | None, digits: int = 0) -> str:
    """A number for reading; a dash where there is none."""
    return "-" if value is None else f"{value:,.{digits}f}"


def time_(milliseconds: float | None) -> str:
    """A time for reading, in milliseconds: short ones, as hits are, with a decimal."""
    return number(milliseconds, 1 if milliseconds is not None and milliseconds < 10 else 0)


def seconds_(value: float | None) -> str:
    """Seconds for reading; a dash where there are none."""
    return "-" if value is None else f"{value:,.1f} s"


def write(file: Path) -> Path:
    """Render the page of a file of results beside it; returns its path."""
    results = json.loads(file.read_text())
    found = rows(results)
    charts = {"throughput": throughput(found), "latency": latency(found), "hits": hits(results),
              "time_line": time_line(results.get("finale", {}))}  # fmt: skip
    return page(file, "ladder.html.j2", results=results, rows=found, ratios=ratios(results), charts=charts)


def page(file: Path, template: str, **values: object) -> Path:
    """Render a template beside a file of results; returns the page's path."""
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True)
    environment.filters |= {"number": number, "time": time_, "seconds": seconds_, "median": statistics.median}
    target = file.with_suffix(".html")
    target.write_text(environment.get_template(template).render(**values))
    return target


def costs(runs: list[dict[str, Any]], groups: dict[str, list[str]]) -> dict[str, float]:
    """CPU milliseconds of each group of hosts for one request of the mix, hits included: medians of a step's runs."""
    return {
        group: statistics.median(
            sum(run["hosts"][host]["cpu_ms_per_request"] for host in groups[group]) for run in runs
        )
        for group in GROUPS
    }


def probed(runs: list[dict[str, Any]], name: str) -> float | None:
    """A figure of the generator in C that asked for hits beside a step's runs, in milliseconds: their median."""
    known = [run["probe"][name] for run in runs if run["probe"].get(name) is not None]
    return statistics.median(known) if known else None


def markdown(file: Path) -> str:
    """The tables of the README and of docs/performance.md: the rungs, their ratios, and whose CPU time they take."""
    results = json.loads(file.read_text())
    found = rows(results)
    tables = (
        (
            ("rung", "mix", "web hosts", "users", "requests/s", "the talk", "mean", "p95", "failed"),
            [
                (
                    row.step.rung,
                    row.step.mix or results["settings"]["mix"] or "-",
                    row.step.web,
                    row.step.users,
                    number(row.rate),
                    number(row.talk[0]) if row.talk else "-",
                    f"{time_(row.mean)} ms",
                    f"{time_(row.p95)} ms",
                    f"{row.failed} of {row.asked:,}",
                )
                for row in found
            ],
        ),
        (
            ("ratio", "median", "lowest to highest", "the talk"),
            [
                (
                    ratio["title"],
                    number(ratio["median"], 2),
                    f"{ratio['low']:.2f} to {ratio['high']:.2f}",
                    number(ratio["talk"], 2),
                )
                for ratio in ratios(results)
            ],
        ),
        (
            ("CPU-ms a request at", *GROUPS, "hits", "a hit's p50 in ms", "p99 in ms"),
            [
                (
                    row.step,
                    *(number(value, 2) for value in costs(runs, results["groups"]).values()),
                    number(row.hit_ratio, 3),
                    number(probed(runs, "p50"), 2),
                    number(probed(runs, "p99"), 1),
                )
                for row in found
                if (runs := [run for run in results["runs"] if run["step"] == row.step.name and "error" not in run])
            ],
        ),
    )
    return "\n\n".join(_table(head, body) for head, body in tables)


def _table(head: Sequence[object], body: Iterable[Iterable[object]]) -> str:
    lines = ["| " + " | ".join(str(cell) for cell in line) + " |" for line in (head, *body)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])
