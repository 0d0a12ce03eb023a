"""The observability checks: what each of them claims. Their judges are beside this module, one for each area."""

from smos.target import Settings, Target
from smos.verdict import Check

CHECKS = (
    Check("OBS-01", "Every span, metric point and log record that is sent arrives, exactly once"),
    Check(
        "OBS-02",
        "A request through two services and a database is one trace: nothing is orphaned, logs carry its ids,"
        " and no child starts before its parent",
    ),
    Check("OBS-03", "An outage of the store and a killed collector lose nothing that was accepted"),
    Check("OBS-04", "Above its memory limit the collector refuses, lives, and recovers"),
    Check("OBS-05", "Telemetry is kept for the declared time and not longer, in every table"),
    Check("OBS-06", "The shipped configuration is valid and uses exactly the components that are built"),
    Check("OBS-07", "Every panel of the dashboards shows what is known to be there, in the right unit"),
    Check("OBS-08", "An alert fires when its condition holds, reaches somebody, and resolves"),
    Check("OBS-09", "An error that an application reports can be read back; a wrong key is refused"),
    Check("OBS-10", "The metrics of collector, Vault and drills are scraped and fresh"),
    Check("OBS-11", "The harness observes itself: a drill is a trace, and its RTO and RPO are metrics"),
    Check("OBS-12", "The collector can do what it declares; what it lacks is listed"),
)


def not_required(target: Target, _settings: Settings | None = None) -> tuple[tuple[str, str], ...]:
    """Return (check ID, why) for every check of this suite that the target does not ask for."""
    if target.observability is not None:
        return ()
    return tuple((item.id, "the target declares no observability stack") for item in CHECKS)
