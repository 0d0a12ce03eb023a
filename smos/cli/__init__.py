"""The `smos` command line."""
