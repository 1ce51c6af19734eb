"""The command line: python -m loadtest -i INVENTORY ladder."""

from __future__ import annotations

import argparse
import json
import math
import secrets
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

from loadtest import capacity, costs, deploys, ladder, load, overload, restores, switching, visitors
from loadtest.capacity import GROUPS, Costs, Demand, known_hit_ratio
from loadtest.drills import catalogue, figures
from loadtest.drills import run as drills
from loadtest.ladder import AFTERWARDS, BEFORE, FAULTS, FINALE, PEOPLE, Ladder, Settings, say, steps_of
from loadtest.load import Load, Plan
from loadtest.target import PROJECT, LoadError, Target
from loadtest.target import load as read_target

REPORTS = PROJECT / "reports"
RESULTS = REPORTS / "ladder.json"


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    # SIGTERM is a Ctrl-C: what runs is ended, and what is broken healed, on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return int(options.run(options) or 0)
    except FAULTS as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("Interrupted: the load has stopped.")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    climb = commands.add_parser("ladder", help="Put every rung under the talk's load and write the report.")
    climb.set_defaults(run=_ladder)
    _add_people(climb)
    climb.add_argument(
        "--rung", choices=ladder.RUNGS, action="append", help="this rung alone; may be given more than once"
    )
    climb.add_argument("--mix", choices=("published", "spoken"), default="published", help="default: %(default)s")
    climb.add_argument("--plan", type=Path, default=load.PEOPLE, help="a locustfile of your own")
    climb.add_argument(
        "--plan-option", action="append", default=[], help="handed on to the plan, such as --plan-option=--accounts=9"
    )
    climb.add_argument("--repeats", type=_count, default=3, help="rounds (%(default)s)")
    climb.add_argument("--seconds", type=_count, default=30, help="measured time of a run (%(default)s)")
    climb.add_argument("--warmup", type=_count, default=20, help="seconds before that (%(default)s)")
    climb.add_argument(
        "--off",
        type=_count_or_none,
        default=600,
        help="seconds of the finale without web hosts; 0: no finale (%(default)s)",
    )
    climb.add_argument(
        "--workers", type=_count, default=1, help="processes of the generator, one a core at most (%(default)s)"
    )
    climb.add_argument("--fresh", action="store_true", help="forget earlier results")

    cost = commands.add_parser("costs", help="CPU milliseconds of each class of request, one class at a time.")
    cost.set_defaults(run=_costs)
    _add_people(cost)
    cost.add_argument("--repeats", type=_count, default=3, help="rounds (%(default)s)")
    cost.add_argument("--seconds", type=_count, default=15, help="measured time of a class (%(default)s)")

    storm = commands.add_parser("overload", help="More load than the cluster can answer, and how it is afterwards.")
    storm.set_defaults(run=_overload)
    _add_people(storm)
    storm.add_argument("--users", type=_count, default=400, help="of the closed model (%(default)s)")
    storm.add_argument("--seconds", type=_count, default=60, help="measured time of each model (%(default)s)")

    release = commands.add_parser("deploys", help="Deploys and rollbacks of the example application under load.")
    release.set_defaults(run=_deploys)
    _add_people(release)
    release.add_argument("--repeats", type=_count, default=20, help="rounds (%(default)s)")
    release.add_argument("--rate", type=_positive, default=4.0, help="visits a second meanwhile (%(default)s)")
    release.add_argument(
        "--everything", action="store_true", help="also what breaks, is interrupted, restarts, leaves and joins"
    )
    release.add_argument("--fresh", action="store_true", help="forget earlier results")

    drill = commands.add_parser("drills", help="Break one thing after the other under load, and see what is noticed.")
    drill.set_defaults(run=_drills)
    _add_target(drill, Path("inventories/ha"))
    drill.add_argument("--only", nargs="+", action="extend", metavar="NAME", help="these drills alone")
    drill.add_argument("--repeats", type=_count, default=1, help="rounds (%(default)s)")
    drill.add_argument("--rate", type=_positive, default=4.0, help="visits a second meanwhile (%(default)s)")
    drill.add_argument("--profiles", type=_count, default=2_000, help="profiles in the directory (%(default)s)")
    drill.add_argument(
        "--hold", type=_count, default=0, metavar="SECONDS", help="what is broken stays so for as long at least"
    )
    drill.add_argument("--resume", action="store_true", help="go on with the results that there are")
    drill.add_argument("--list", action="store_true", help="say what drills there are, and end")
    drill.add_argument(
        "--summary", action="store_true", help="print the table of docs/reliability.md from the results, and end"
    )

    back = commands.add_parser("restores", help="Restores of backups beside the database, by the directory's size.")
    back.set_defaults(run=_restores)
    _add_target(back, Path("inventories/ha"))
    back.add_argument(
        "--profiles",
        type=_count,
        nargs="+",
        default=[2_000, 100_000, 500_000],
        metavar="N",
        help="profiles in the directory, which is replaced, as the backups are (%(default)s)",
    )
    back.add_argument("--repeats", type=_count, default=10, help="restores of each size (%(default)s)")

    live = commands.add_parser(
        "visitors", help="Visitors who come until Ctrl-C, for 90 minutes at most, and what they meet with."
    )
    live.set_defaults(run=_visitors)
    _add_target(live, Path("inventories/lab"))
    live.add_argument("--rung", choices=ladder.RUNGS, default="cached", help="where the site is (%(default)s)")
    live.add_argument("--rate", type=_positive, default=4.0, help="visits a second of the example's plan (%(default)s)")
    live.add_argument("--users", type=_count, help="in place of --rate: so many who go round (1 with --plan)")
    live.add_argument("--seconds", type=_count, default=load.LONGEST, help="at most (%(default)s)")
    live.add_argument("--profiles", type=_count, default=2_000, help="profiles that are asked for (%(default)s)")
    live.add_argument("--plan", type=Path, default=load.PEOPLE, help="a locustfile of your own")

    ways = commands.add_parser("switching", help="Ways to switch a uWSGI beside each other, on the first web host.")
    ways.set_defaults(run=_switching)
    _add_target(ways)
    ways.add_argument("--path", default="/", help="what is asked for meanwhile (%(default)s)")
    ways.add_argument("--repeats", type=_count, default=5, help="rounds (%(default)s)")

    plan = commands.add_parser("capacity", help="How many hosts a site needs, from what a ladder has measured.")
    plan.set_defaults(run=_capacity)
    plan.add_argument("requests_a_day", type=_positive, help="pages a day")
    plan.add_argument("--hit-ratio", type=_share, help="share of requests that the cache answers (as measured)")
    plan.add_argument("--peak", type=_positive, default=4.0, help="the busiest second against the mean (%(default)s)")
    plan.add_argument("--cores", type=_positive, default=2.0, help="of each host (%(default)s)")
    plan.add_argument("--utilisation", type=_part, default=0.6, help="share of a host to be at work (%(default)s)")
    for group in GROUPS:
        plan.add_argument(f"--{group}-ms", type=_positive, help=f"CPU milliseconds of {group} a request (as measured)")
    plan.add_argument("--results", type=Path, default=RESULTS, help="a ladder's results (%(default)s)")

    check = commands.add_parser("capacity-check", help="The calculator's 1, 2 and 3 web hosts beside a ladder's.")
    check.set_defaults(run=_capacity_check)
    check.add_argument("results", type=Path, nargs="?", default=RESULTS)

    render = commands.add_parser("render", help="Write the report of a file of results again.")
    render.set_defaults(run=_render)
    render.add_argument("results", type=Path, nargs="?", default=RESULTS)
    render.add_argument(
        "--markdown", action="store_true", help="print the tables of README and docs in place of the page"
    )
    return parser


def _add_target(parser: argparse.ArgumentParser, inventory: Path = Path("inventories/ladder")) -> None:
    """What all commands that send load ask for: where to, and where results go."""
    parser.add_argument("-i", "--inventory", type=Path, default=inventory, help="default: %(default)s")
    parser.add_argument("--reports", type=Path, default=REPORTS, help="where the results go (%(default)s)")


def _add_people(parser: argparse.ArgumentParser) -> None:
    """What commands ask for whose load is people in the directory."""
    _add_target(parser)
    parser.add_argument("--profiles", type=_count, default=500_000, help="profiles in the directory (%(default)s)")


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1.")
    return int(text)


def _count_or_none(text: str) -> int:
    return 0 if text == "0" else _count(text)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0.")
    return value


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share: write a number from 0 up to, not with, 1.")
    return value


def _part(text: str) -> float:
    value = _positive(text)
    if value > 1:
        raise argparse.ArgumentTypeError(f"{text!r} is more than the whole: write a number above 0, up to 1.")
    return value


def _plan(options: argparse.Namespace, *more: str) -> tuple[Plan, bool]:
    """The plan that the user names, with more arguments for it; and whether it is one of his own."""
    if not options.plan.is_file():
        raise LoadError(f"There is no plan {options.plan}: give a locustfile.")
    file, password = options.plan.resolve(), secrets.token_urlsafe(24)
    if file != load.PEOPLE:
        return Plan(file, more, password, ()), True
    return Plan(file, ("--profiles", str(options.profiles), *more), password), False


def _ladder(options: argparse.Namespace) -> int:
    plan, own = _plan(options, *options.plan_option)
    target = read_target(options.inventory)
    settings = Settings(
        str(options.inventory),
        str(options.plan) if own else PEOPLE,
        tuple(options.plan_option),
        "" if own else options.mix,
        options.profiles,
        options.seconds,
        options.warmup,
        target.caps,
        options.workers,
    )
    climb = Ladder(target, settings, options.reports / "ladder.json", plan)
    _check_generators(climb, options.seconds, BEFORE + options.off + AFTERWARDS)
    if not options.fresh and (before := climb.resume()):
        say(f"Going on after {before} runs in {climb.file}.")
    try:
        climb.climb(steps_of(options.mix, options.rung, own_plan=own), options.repeats)
        if not options.rung or "cached" in options.rung:
            if not own and not climb.ceiling.get("ratio"):
                climb.top(options.repeats)
            if options.off and not climb.finale.get("seconds"):
                climb.finish(options.off)
    except KeyboardInterrupt:
        say("What was measured is kept: the same command goes on from there. The accounts and the pool are tidied up.")
        raise
    finally:
        climb.tidy()
    from loadtest import report  # draws, and takes seconds to load: a typing error is told before that

    page = report.write(climb.file)
    say(f"{climb.file}, {page}")
    return int(any("error" in run for run in climb.runs))


def _check_generators(climb: Ladder, *lengths: float) -> None:
    """Raise LoadError for what would be in the way of a run later: no generator, or one that would run for too long."""
    if not shutil.which("h2load"):
        raise LoadError("h2load is not installed: apt-get install nghttp2-client")
    for seconds in lengths:
        climb.load(FINALE, seconds).arguments(())


def _people(options: argparse.Namespace) -> tuple[Target, Plan]:
    """The inventory to send load to, and the example application's plan for it."""
    plan = Plan(arguments=("--profiles", str(options.profiles)), password=secrets.token_urlsafe(24))
    return read_target(options.inventory), plan


def _costs(options: argparse.Namespace) -> None:
    target, plan = _people(options)
    costs.measure(
        target,
        plan,
        profiles=options.profiles,
        seconds=options.seconds,
        rounds=options.repeats,
        file=options.reports / "costs.json",
    )


def _overload(options: argparse.Namespace) -> None:
    target, plan = _people(options)
    settings = Settings(str(options.inventory), profiles=options.profiles, caps=target.caps)
    climb = Ladder(target, settings, options.reports / "overload.json", plan)
    _check_generators(climb, options.seconds)
    try:
        overload.measure(climb, options.users, options.seconds)
    finally:
        climb.tidy()
    say(str(climb.file))


def _deploys(options: argparse.Namespace) -> None:
    target, plan = _people(options)
    deploys.measure(
        target,
        plan,
        profiles=options.profiles,
        rate=options.rate,
        rounds=options.repeats,
        everything=options.everything,
        fresh=options.fresh,
        file=options.reports / "deploys.json",
    )


def _drills(options: argparse.Namespace) -> int:
    file = options.reports / "drills.json"
    if options.list:
        for name, one in (catalogue.chosen(options.only) if options.only else catalogue.DRILLS).items():
            print(f"{name:18}{one.says}")
        return 0
    if options.summary:
        print(figures.markdown(_drilled(file)))
        return 0
    catalogue.chosen(options.only)
    target, plan = _people(options)
    plan = replace(plan, arguments=(*plan.arguments, "--mix", "spoken"))
    try:
        passed = drills.measure(
            target,
            plan,
            names=options.only,
            profiles=options.profiles,
            rate=options.rate,
            repeats=options.repeats,
            hold=options.hold,
            resume=options.resume,
            file=file,
        )
    finally:
        if file.exists():
            from loadtest.drills import page  # draws, and takes seconds to load

            say(f"{file}, {page.write(file)}")
    return int(not passed)


def _drilled(file: Path) -> dict[str, Any]:
    """The results of drills. Raises LoadError when the file has none."""
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or not all("drill" in one for one in found.get("runs") or [{}]):
        raise LoadError(f"{file} does not hold results of drills: `make drills` writes them to reports/drills.json.")
    return found


def _restores(options: argparse.Namespace) -> None:
    target = read_target(options.inventory)
    file = options.reports / "restores.json"
    restores.measure(target, sizes=options.profiles, repeats=options.repeats, file=file)
    say(str(file))


def _visitors(options: argparse.Namespace) -> int:
    plan, own = _plan(options)
    closed = options.users or own
    rate = 0 if closed else options.rate
    wanted = Load(users=options.users or 1, rate=rate, seconds=options.seconds, live=1)
    target = read_target(options.inventory)
    return visitors.come(target, options.rung, plan, wanted, profiles=0 if own else options.profiles)


def _switching(options: argparse.Namespace) -> None:
    target = read_target(options.inventory)
    switching.measure(target, path=options.path, rounds=options.repeats, file=options.reports / "switching.json")


def _capacity(options: argparse.Namespace) -> None:
    known = capacity.measured(_existing(options.results))
    given = {group: getattr(options, f"{group}_ms") for group in GROUPS}
    wanted = Costs(**{group: given[group] or getattr(known, group) for group in GROUPS})
    ratio = known_hit_ratio(options.results) if options.hit_ratio is None else options.hit_ratio
    demand = Demand(options.requests_a_day, ratio, options.peak)
    cores = wanted.demand(demand)
    hosts = wanted.hosts(demand, options.cores, options.utilisation)
    print(f"{demand.requests_a_second:,.0f} requests/s at the peak, {ratio:.0%} of them hits\n")
    print(f"{'group':8}{'CPU-ms':>8}{'cores at work':>16}{'hosts':>8}")
    for group in GROUPS:
        print(f"{group:8}{getattr(wanted, group):>8.2f}{cores[group]:>16.2f}{hosts[group]:>8}")


def _capacity_check(options: argparse.Namespace) -> None:
    rows = capacity.checked(_existing(options.results))
    print(f"{'web hosts':>9}{'predicted':>11}{'measured':>10}   requests/s")
    for row in rows:
        print(f"{row['hosts']:>9}{row['predicted']:>11.0f}{row['measured']:>10.0f}")


def _existing(results: Path) -> Path:
    if not results.is_file():
        raise LoadError(f"There is no file {results}: `make ladder` writes one.")
    try:
        found = json.loads(results.read_text())
    except ValueError:
        found = None
    if not isinstance(found, dict) or not found.get("runs") or not {"settings", "machine", "groups"} <= found.keys():
        raise LoadError(
            f"{results} does not hold a ladder's results: `make ladder` writes them to reports/ladder.json."
        )
    return results


def _render(options: argparse.Namespace) -> None:
    _existing(options.results)
    try:
        from loadtest import report
    except ImportError as error:
        raise LoadError(f"{error}: pip install -r loadtest/requirements.txt") from error

    if options.markdown:
        print(report.markdown(options.results))
    else:
        say(str(report.write(options.results)))


if __name__ == "__main__":
    raise SystemExit(main())
