"""Where a run takes place: what the CI system says about itself. Context for reports, never a setting."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class CiContext:
    """kind: "github" or "local". step_summary: GitHub's file for the summary of the step."""

    kind: str
    name: str
    build_name: str = ""
    build_url: str = ""
    build_order: int | None = None
    step_summary: Path | None = None


def read_ci(environ: Mapping[str, str]) -> CiContext:
    """Tell from the environment where this run takes place."""
    summary = environ.get("GITHUB_STEP_SUMMARY")
    step_summary = Path(summary) if summary else None
    if environ.get("GITHUB_ACTIONS") != "true":
        return CiContext(kind="local", name="local", step_summary=step_summary)
    number = environ.get("GITHUB_RUN_NUMBER", "")
    server, repository = environ.get("GITHUB_SERVER_URL", ""), environ.get("GITHUB_REPOSITORY", "")
    run = environ.get("GITHUB_RUN_ID", "")
    return CiContext(
        kind="github",
        name="GitHub Actions",
        build_name=f"{environ.get('GITHUB_WORKFLOW', 'workflow')} #{number}",
        build_url=f"{server}/{repository}/actions/runs/{run}" if server and repository and run else "",
        build_order=int(number) if number.isdecimal() else None,
        step_summary=step_summary,
    )
