"""Commands for read models: comparing them with the write model, and rebuilding them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from allocation.entrypoints.cli.console import err, fail, out, print_json

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from allocation.adapters.postgresql.database import Database
    from allocation.adapters.read_models.rebuilds import RebuildState
    from allocation.projections.follower import ProjectionFollower

AsJson = Annotated[bool, typer.Option("--json", help="JSON, one object a line.")]
Name = Annotated[str, typer.Argument(help="The read model, such as allocations_view.")]
OptionalName = Annotated[str | None, typer.Argument(help="Only this read model.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    app.command(epilog="Example: allocation rebuild allocations_view --throttle 20000")(rebuild)
    app.command(epilog="Example: allocation verify && echo sound")(verify)


def rebuild(
    name: Name,
    source: Annotated[
        Literal["model", "journal", "snapshot"] | None,
        typer.Option(
            "--from",
            help="The write model, which is the fastest; the whole journal with its archive; or the newest "
            "snapshot of the archive and the events after it.",
        ),
    ] = None,
    throttle: Annotated[
        int | None, typer.Option(help="At most so many rows or events a second.", min=1, max=10**9)
    ] = None,
    *,
    undo: Annotated[
        bool, typer.Option("--undo", help="Go back to the table that the last rebuild replaced.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Build a read model anew beside the one in use, then replace it.

    If interrupted, the rebuild is finished by the worker, or by running the same command again.
    """
    from allocation.projections import rebuild as rebuilding
    from allocation.projections import undo as undoing

    with _read_models(writing=True) as (database, known):
        follower = _of_name(known, name)
        if undo:
            undoing.undo(database, follower)
            out.print(f"{name}: the earlier table serves again")
            return
        rebuilding.request(database, follower.projection, source=source, throttle=throttle)
        state = _carried_out(database, follower)
    if as_json:
        print_json(asdict(state))
    elif state.phase == "done":
        out.print(f"{name}: rebuilt from the {state.source}, {state.fait} {_unit(state)}")
    if state.phase != "done":
        fail(f"{name} is not rebuilt: {state.erreur}. What has served so far still does.")
        raise typer.Exit(1)


def verify(
    name: OptionalName = None,
    *,
    repair: Annotated[
        bool, typer.Option("--repair", help="Rebuild the read models that differ, and compare again.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check the write model against itself and the journal, and every read model against the write model.

    Prints each difference; the exit status is 1 if one remains.
    """
    with _read_models(writing=repair) as (database, known):
        followers = known if name is None else {name: _of_name(known, name)}
        differing = _compare(database, followers, only_read_models=name is not None, as_json=as_json)
        if differing and repair:
            differing = _repair(database, followers, differing, as_json=as_json)
    err.print(f"{sum(differing.values())} differences" if differing else "No difference.")
    raise typer.Exit(1 if differing else 0)


def _compare(
    database: "Database",
    followers: Mapping[str, "ProjectionFollower"],
    *,
    only_read_models: bool,
    as_json: bool,
) -> dict[str, int]:
    """Print every difference; return the number of differences in each comparison that has some."""
    from allocation.projections import verify as verifying

    found: dict[str, int] = {}
    differences = verifying.verify(database, list(followers.values()), only_read_models=only_read_models)
    for difference in differences:
        found[difference.comparison] = found.get(difference.comparison, 0) + 1
        if as_json:
            print_json(asdict(difference))
        else:
            word = "missing" if difference.missing else "unexpected"
            out.print(f"{difference.comparison}: {word} {difference.row}", markup=False, soft_wrap=True)
    return found


def _repair(
    database: "Database",
    followers: Mapping[str, "ProjectionFollower"],
    differing: Mapping[str, int],
    *,
    as_json: bool,
) -> dict[str, int]:
    """Rebuild the read models that differ; return what still differs."""
    from allocation.projections import rebuild as rebuilding

    if damaged := [comparison for comparison in differing if comparison not in followers]:
        fail(
            f"not repaired: {'; '.join(damaged)}. The write model and the journal are both originals: no "
            "program can tell which is right, and no read model is rebuilt from one that is in doubt."
        )
        return dict(differing)
    for name in differing:
        rebuilding.request(database, followers[name].projection)
        _carried_out(database, followers[name])
        err.print(f"{name}: rebuilt")
    return _compare(database, followers, only_read_models=True, as_json=as_json)


@contextmanager
def _read_models(*, writing: bool) -> "Iterator[tuple[Database, dict[str, ProjectionFollower]]]":
    """The database, and the readers that maintain this program's read models, by name.

    Only for `writing` is each of them sure to have a table and a checkpoint.
    """
    from allocation.adapters.configuration import Settings
    from allocation.entrypoints.database import open_database
    from allocation.projections import projector
    from allocation.service_layer.bootstrap import projection_followers

    settings = Settings()
    with open_database(settings, writing=writing) as database:
        followers = projection_followers(database, settings)
        if writing:
            projector.register(followers)
        yield database, {each.name: each for each in followers}


def _of_name(known: Mapping[str, "ProjectionFollower"], name: str) -> "ProjectionFollower":
    if name not in known:
        fail(f"there is no read model called {name}; there are: {', '.join(sorted(known))}")
        raise typer.Exit(2)
    return known[name]


def _carried_out(database: "Database", follower: "ProjectionFollower") -> "RebuildState":
    """Carry out the rebuild while showing its progress; return how it ended."""
    from allocation.projections import rebuild as rebuilding

    with _progress() as progress:
        task = progress.add_task(follower.name, total=None, rate="")

        def show() -> None:
            _show(progress, task, rebuilding.get(database, follower.name))

        rebuilding.run(rebuilding.Rebuilder(database, follower), show)
    return rebuilding.get(database, follower.name)


def _show(progress: "Progress", task: "TaskID", state: "RebuildState") -> None:
    note = f"{state.phase} ({state.erreur})" if state.erreur else state.phase
    speed = progress.tasks[task].speed
    progress.update(
        task,
        description=f"{state.name}: {note}",
        completed=state.fait,
        total=max(state.total, state.fait),
        rate="" if speed is None else f"{speed:,.0f}/s",
    )


def _progress() -> "Progress":
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=err, disable=not err.is_terminal)


def _unit(state: "RebuildState") -> str:
    return "rows" if state.source == "model" else "events"
