"""`python -m smos.i18n`: bring the catalogue up to the source, and compile it. Needs Babel (the extra `dev`).

`python -m smos.i18n --check` changes nothing and ends with 1 where a message is not translated.
"""

import io
import sys
from pathlib import Path

from babel.messages import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from smos.i18n import DIRECTORY, DOMAIN
from smos.i18n.messages import all_messages


def read(language: str) -> Catalog:
    """Return a language's catalogue as it is kept."""
    path = _path(language)
    if not path.is_file():
        return Catalog(locale=language, domain=DOMAIN)
    with path.open("rb") as file:
        return read_po(file, locale=language, domain=DOMAIN)


def updated(language: str) -> Catalog:
    """Return the catalogue with the messages of today: new ones empty, old ones gone."""
    kept = read(language)
    fresh = Catalog(
        locale=language, domain=DOMAIN, project="SmarterOS Verify", charset="utf-8", header_comment=HEADER,
        revision_date=kept.revision_date, creation_date=kept.creation_date, fuzzy=False,
    )  # fmt: skip
    for text in sorted(all_messages()):
        known = kept.get(text)
        fresh.add(text, known.string if known is not None and not known.fuzzy else "")
    return fresh


def write(language: str, catalog: Catalog) -> None:
    """Write the catalogue and its compiled form."""
    path = _path(language)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = io.BytesIO()
    write_po(text, catalog, width=116, omit_header=False, no_location=True)
    path.write_bytes(text.getvalue())
    path.with_suffix(".mo").write_bytes(compiled(catalog))


def compiled(catalog: Catalog) -> bytes:
    """Return the compiled form."""
    out = io.BytesIO()
    write_mo(out, catalog)
    return out.getvalue()


def missing(catalog: Catalog) -> list[str]:
    """Return the messages without a translation."""
    return [str(message.id) for message in catalog if message.id and not message.string]


def _path(language: str) -> Path:
    return DIRECTORY / language / "LC_MESSAGES" / f"{DOMAIN}.po"


HEADER = (
    "# Spanish messages of SmarterOS Verify's command line. Made by `python -m smos.i18n`; edit msgstr only."
)

if __name__ == "__main__":
    catalog = updated("es")
    if "--check" not in sys.argv[1:]:
        write("es", catalog)
    for text in missing(catalog):
        sys.stderr.write(f"not translated: {text}\n")
    sys.exit(1 if missing(catalog) else 0)
