"""Build hook: puts `smarteros_verify_arguments.pth` into site-packages, for editable installations too.

Why a .pth file: see smos/pytest_arguments.py. It must act before pytest looks for its configuration.
"""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NAME = "smarteros_verify_arguments.pth"


class ArgumentsHook(BuildHookInterface):
    """Adds the one file to both kinds of wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the file in the build data (hatchling's documented keys)."""
        key = "force_include_editable" if version == "editable" else "force_include"
        build_data[key][NAME] = NAME
