"""Bugsink's settings for one embedded server; what differs between servers is in a JSON file."""

import json
import os
from pathlib import Path

from bugsink.conf_utils import deduce_allowed_hosts
from bugsink.settings.default import *  # noqa: F403  (that is how Bugsink is configured)
from bugsink.settings.default import DATABASES

GIVEN = json.loads(Path(os.environ["SMOS_BUGSINK"]).read_text(encoding="utf-8"))
SECRET_KEY = GIVEN["secret_key"]
DATABASES["default"]["NAME"] = f"{GIVEN['data']}/db.sqlite3"
DATABASES["snappea"]["NAME"] = f"{GIVEN['data']}/snappea.sqlite3"
SNAPPEA = {"TASK_ALWAYS_EAGER": True, "NUM_WORKERS": 1, "PID_FILE": None}
TIME_ZONE = "UTC"
EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
SENTRY_DSN = None
BUGSINK = {
    "BASE_URL": GIVEN["url"],
    "SITE_TITLE": "smos",
    "INGEST_STORE_BASE_DIR": f"{GIVEN['data']}/ingestion",
    "PHONEHOME": False,  # it tells nobody that it runs
    "USER_REGISTRATION": "CB_NOBODY",
    "MAX_EVENT_AGE_DAYS": GIVEN["days"],
    "MAX_EVENTS_PER_PROJECT_PER_5_MINUTES": 1_000_000,  # a suite sends many
    "MAX_EVENTS_PER_PROJECT_PER_HOUR": 1_000_000,
    "MAX_EVENTS_PER_5_MINUTES": 1_000_000,
    "MAX_EVENTS_PER_HOUR": 1_000_000,
}
ALLOWED_HOSTS = deduce_allowed_hosts(GIVEN["url"])
