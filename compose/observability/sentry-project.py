# Read by Django's shell inside the Bugsink container: makes the project that PROJECT_DSN names, once.
import os
import uuid
from urllib.parse import urlsplit

from projects.models import Project
from teams.models import Team

dsn = urlsplit(os.environ["PROJECT_DSN"])
key, number = uuid.UUID(dsn.username), int(dsn.path.rsplit("/", 1)[-1])
team, _ = Team.objects.get_or_create(name="smarteros")
project, made = Project.objects.get_or_create(
    id=number, defaults={"team": team, "name": "smarteros", "slug": f"smarteros-{number}", "sentry_key": key}
)
if project.sentry_key != key:
    raise SystemExit(f"Project {number} has another key than SENTRY_DSN: take the DSN that Bugsink shows.")
print(f"Project {number} was", "made." if made else "there already.")
