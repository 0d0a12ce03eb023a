"""SmarterOS Verify: proof, on real servers, that backups restore and that a stack keeps its promises."""

__version__ = "0.1.0"
