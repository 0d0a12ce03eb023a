"""`make images`: builds the images, says which ones the stacks can use, and writes it down.

    python -m smos.provision.images [NAME …] [--mirror URL] [--env FILE] [--record FILE]

`--env` takes the file of variables for `docker compose --env-file`; `--record` the file with every image's digests.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from smos.errors import SmosError
from smos.provision.images.build import Built, build_images
from smos.provision.images.recipes import read_recipes, wanted


def main(words: list[str]) -> int:
    """Build; 1 when one could not be built (the others are there and written down)."""
    parser = argparse.ArgumentParser(prog="make images", description="Build the stacks' images.")
    parser.add_argument("names", nargs="*", help="which images (default: all)")
    parser.add_argument("--mirror", help="take Debian's packages from this mirror alone, e.g. a snapshot")
    parser.add_argument("--env", type=Path, help="write the stacks' variables into this file")
    parser.add_argument("--record", type=Path, help="write names and digests into this file, as JSON")
    given = parser.parse_args(words)
    started = time.monotonic()
    try:
        recipes = wanted(read_recipes(), given.names)
        outcome = build_images(recipes, mirror=given.mirror, say=_say)
    except SmosError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    built = outcome.built
    kept = _known(given.record) if given.names else {}
    known = {**kept, **record(built)}
    if given.record is not None:
        _write(given.record, json.dumps(known, indent=2) + "\n")
    if given.env is not None:
        _write(given.env, environment(known))
    fresh = sum(1 for item in built if item.seconds)
    lacking = f"; missing: {', '.join(outcome.missing)}" if outcome.missing else ""
    _say(f"{len(built)} images, {fresh} of them new, in {time.monotonic() - started:.1f} s{lacking}")
    return 1 if outcome.missing else 0


def environment(known: Mapping[str, Mapping[str, str | None]]) -> str:
    """Return lines `VARIABLE=image` for those that stand in for a public image in a stack."""
    lines = [f"{item['variable']}={item['tag']}" for item in known.values() if item.get("variable")]
    return "# Written by `make images`: these images instead of the public ones.\n" + "\n".join(lines) + "\n"


def record(built: tuple[Built, ...]) -> dict[str, dict[str, str | None]]:
    """Return name -> tag, digests, the stacks' variable, and the public image that it stands for."""
    return {
        item.recipe.name: {
            "tag": item.tag,
            "image_id": item.image_id,
            "inputs_sha256": item.inputs,
            "stands_for": item.recipe.stand_in,
            "variable": item.recipe.variable,
        }
        for item in built
    }


def _known(path: Path | None) -> dict[str, dict[str, str | None]]:
    """Return what an earlier run wrote down, so that building some images forgets no other."""
    if path is None or not path.is_file():
        return {}
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
