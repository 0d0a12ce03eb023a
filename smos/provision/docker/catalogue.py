"""Which image each server runs from."""

from smos.errors import ProvisionError
from smos.provision.docker.engine import engine, told

LABEL = "cl.smarterbot.image"


def image_of(kind: str, *, major: int | None = None) -> str:
    """Return the name of the image for a server of this kind. Raises ProvisionError when the engine has none."""
    names = [f"{kind}{major}", kind] if major is not None else [kind]
    with told("list its images"):
        for name in names:
            found = engine().images.list(filters={"label": f"{LABEL}={name}"})
            if found:
                return str(max(found, key=lambda item: item.attrs["Created"]).tags[0])
    raise ProvisionError(f"The engine has no image for {kind}", remedy="build them: make images")
