"""`collapse submit` and `collapse job`: specs as jobs of a Ray cluster, through Ray's job SDK."""

import asyncio
import logging
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from collapse_ray.cli.spec_files import load, split
from collapse_ray.config.errors import InvalidInput, RunFailed

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

EXCLUDES = (".git", ".venv", "demo", "store", "build", "dist", "**/__pycache__", "**/.pytest_cache")
"""Of the working directory, what no job needs."""

STOP_WAIT_S = 60
"""Ray kills a job that has not ended as long after it was told to; its default of 3 is too short to close a ledger."""

Address = Annotated[
    str, typer.Option(metavar="URL", help="The cluster's dashboard; the token is taken from Ray's own settings.")
]
JobId = Annotated[str, typer.Argument(metavar="ID", help="As `collapse submit` printed it.")]

DASHBOARD = "http://127.0.0.1:8265"


def register(app: typer.Typer) -> None:
    app.command(no_args_is_help=True)(submit)
    jobs = typer.Typer(no_args_is_help=True, help="Look after jobs that `collapse submit` started.")
    for command in (status, logs, stop):
        jobs.command(no_args_is_help=True)(command)
    app.add_typer(jobs, name="job")


def submit(
    arguments: Annotated[
        list[str],
        typer.Argument(metavar="SPEC [KEY=VALUE]...", help="A lineage or sweep file and overrides of its keys."),
    ],
    address: Address = DASHBOARD,
    working_dir: Annotated[
        Path, typer.Option(metavar="FOLDER", help="What travels with the job: the spec, and the code if it lies there.")
    ] = Path(),
    follow: Annotated[bool, typer.Option(help="Print the job's log until it ends.")] = True,
) -> None:
    """Run a spec as a job of a Ray cluster, the same as `collapse run` or `collapse sweep` there.

    The spec is checked here first. The store must be one that all nodes reach: an absolute path or a URI. Submitted
    again, what is published is not computed again. Ctrl-C ends the printing of the log, not the job.

    **Examples**

    `collapse submit jobs/specs/digits_sweep.yaml run.store=s3://bucket/store run.workers=4 run.gpus_per_worker=1`

    `collapse job stop raysubmit_…`
    """
    command, name = _checked(arguments)
    entrypoint = shlex.join(["python", "-m", "collapse_ray.cli.main", command, "run.address=auto", *arguments])
    client = _client(address)
    job = client.submit_job(
        entrypoint=entrypoint,
        entrypoint_num_cpus=1,  # on a node that computes: the head may hold none
        runtime_env={
            "working_dir": str(working_dir.absolute()),
            "excludes": list(EXCLUDES),
            "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S)},
        },
        metadata={"name": name},
    )
    typer.echo(f"job {job}: {address.rstrip('/')}/#/jobs/{job}")
    typer.echo(f"to stop it: collapse job stop {job} --address {address}")
    if follow:
        _follow(client, job)


def status(job: JobId, address: Address = DASHBOARD) -> None:
    """Print the state of a job."""
    info = _client(address).get_job_info(job)
    typer.echo(f"{job} {info.status}{f': {info.message}' if info.message else ''}")


def logs(job: JobId, address: Address = DASHBOARD) -> None:
    """Print the log of a job until it ends; the exit code tells how it did."""
    _follow(_client(address), job)


def stop(job: JobId, address: Address = DASHBOARD) -> None:
    """End a job in order: what is published stays, and the ledger is closed."""
    client = _client(address)
    if not client.stop_job(job):
        typer.echo(f"{job} has ended already: {client.get_job_status(job)}")
        return
    _follow(client, job, failed=False)


def _checked(arguments: list[str]) -> tuple[str, str]:
    """The command that runs a spec and what it is called, once the file says that it can be run."""
    from collapse_ray.search.spec import Sweep

    paths, overrides = split(arguments)
    if len(paths) != 1:
        raise InvalidInput(f"a job runs one spec file, given: {', '.join(map(str, paths)) or 'none'}")
    (path,) = paths
    if path.is_absolute():
        raise InvalidInput(f"{path} does not travel with the job; give a path relative to the working directory")
    asked = load(path, ["run.address=auto", *overrides])
    return "sweep" if isinstance(asked, Sweep) else "run", asked.name


def _client(address: str) -> "JobSubmissionClient":
    logging.getLogger("ray").setLevel(logging.ERROR)  # a line for every file that is left out
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    try:
        return JobSubmissionClient(address)
    except ConnectionError as error:
        raise InvalidInput(
            f"no Ray dashboard answers at {address}: {error}; give --address, or reach it through SSH first "
            "(docs/clusters.md)"
        ) from error
    except (AuthenticationError, RuntimeError) as error:
        raise InvalidInput(f"{address} refuses: {error}") from error


def _follow(client: "JobSubmissionClient", job: str, *, failed: bool = True) -> None:
    """Prints a job's log until it ends.

    Raises:
        RunFailed: the job failed or was stopped, where `failed` says that this is a failure.
    """
    try:
        asyncio.run(_print_log(client, job))
    except KeyboardInterrupt as interrupt:
        typer.echo(f"{job} goes on; its log: collapse job logs {job}", err=True)
        raise typer.Exit(130) from interrupt
    info = client.get_job_info(job)
    typer.echo(f"{job} {info.status}")
    if failed and str(info.status) != "SUCCEEDED":
        # Its log was just printed; the message repeats the end of it.
        raise RunFailed((info.message or f"{job} has not succeeded").partition(", last available logs")[0])


async def _print_log(client: "JobSubmissionClient", job: str) -> None:
    async for lines in client.tail_job_logs(job):
        sys.stdout.write(lines)
        sys.stdout.flush()
