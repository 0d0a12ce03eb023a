"""Bugsink's application; the first start makes the API token, a team and a project."""

from bugsink.wsgi import application
from bugsinkapp.settings import GIVEN

__all__ = ["application"]


def _prepare() -> None:
    from bsmain.models import AuthToken  # models can be imported once the application is there
    from projects.models import Project
    from teams.models import Team

    if not AuthToken.objects.exists():
        AuthToken.create_full_access(token=GIVEN["token"], description="smos")
        team = Team.objects.create(name="smos")
        Project.objects.create(team=team, name="smos", slug="smos")


_prepare()
