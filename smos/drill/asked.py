"""Before a run: which target is meant. Imported by every process of a run, so it imports little."""

from smos.paths import compose_dir
from smos.target import Settings, Target, check_places, load_target


def effective_target(settings: Settings) -> Target:
    """Return what is required in this run.

    A target file; else what the newest set in `--backups DIR` holds (`derived`, so that completeness can't be
    proven); else the built-in self-test. `--backups` wins over the target's own directory.
    """
    if settings.target is not None:
        if settings.backups is None:
            return check_places(settings.target)
        backups = settings.target.backups.model_copy(update={"directory": settings.backups, "source": None})
        return check_places(settings.target.model_copy(update={"backups": backups}))
    if settings.backups is None:
        return load_target(compose_dir() / "selftest" / "target.yml")
    # Every process of every run asks; only a directory without a target needs what reads and restores backups.
    from smos.backup.catalog import read_catalog
    from smos.drill.plan import derive_target

    return derive_target(settings.backups, read_catalog(settings.backups, timezone="UTC"))
