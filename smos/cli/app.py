"""Entry point of the `smos` command."""


def main() -> None:
    """Run the command line."""
