"""A directory of large files, kept as compressed pieces of some 64 MB that are written and restored in parallel.

Made for data directories of PostgreSQL. `pack` writes pieces and their manifest, `unpack` restores and verifies in one
pass, `verify` only verifies, `read_manifest` reads the manifest alone.
"""

from smos.pieces.manifest import MANIFEST, PieceManifest, PiecesError, read_manifest
from smos.pieces.pack import pack
from smos.pieces.unpack import UnpackFacts, unpack, verify

__all__ = [
    "MANIFEST",
    "PieceManifest",
    "PiecesError",
    "UnpackFacts",
    "pack",
    "read_manifest",
    "unpack",
    "verify",
]
