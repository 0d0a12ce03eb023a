"""The configuration of the `smos` command: what it talks to, for one person on one machine (`~/.smos`).

A target file says what is verified; this says where a person's servers are. docs/cli.md lists the keys.
"""
