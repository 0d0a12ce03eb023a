"""Writes down which version of the harness lies in a folder, as an installation would."""

import sys
from pathlib import Path

import smos

folder = Path(sys.argv[1]) / f"smarteros_verify-{smos.__version__}.dist-info"
folder.mkdir()
text = f"Metadata-Version: 2.1\nName: smarteros-verify\nVersion: {smos.__version__}\n"
(folder / "METADATA").write_text(text, encoding="utf-8")
