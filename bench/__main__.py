"""Measure every part against its peers, in the same run: medians, ratios, the machine. `python -m bench --help`.

Everything is printed; with `--write` the tables go between the marks of docs/benchmarks.md as well.
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import everyday, logical, physical, scale, verification
from bench.measure import RUNS, Table, machine
from smos.provision.owner import Owner

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- measured -->", "<!-- /measured -->"
PARTS = ("provisioning", "everyday", "logical", "physical", "verification", "scale")


def main() -> None:
    """Read the options, measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of: {', '.join(PARTS)} (default: all)")
    parser.add_argument(
        "--gb", type=float, action="append", help="size of the databases, repeatable (default: 0.2)"
    )
    parser.add_argument(
        "--runs", type=int, default=RUNS, help=f"runs of each, the median counts (default: {RUNS})"
    )
    parser.add_argument("--write", action="store_true", help=f"write the tables into {PAGE.name}")
    options = parser.parse_args()
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    sizes: Sequence[float] = options.gb or [0.2]
    pages: list[str] = []
    for part in PARTS:
        if not options.parts or part in options.parts:
            for table in _tables(part, sizes, options.runs):
                text = f"{table.markdown()}\nMeasured {machine()}.\n"
                print(f"\n{text}", flush=True)
                pages.append(text)
                if options.write:
                    _write(pages)


def _tables(part: str, sizes: Sequence[float], runs: int) -> list[Table]:
    """Measure one part; each size with an owner of its own, so that its files are gone before the next."""
    work: dict[str, Callable[[Owner, float], list[Table]]] = {
        "logical": lambda owner, size: logical.measure(owner, size, runs, owner.directory("dumps")),
        "physical": lambda owner, size: physical.measure(owner, size, runs, os.cpu_count() or 2),
        "verification": lambda owner, size: verification.measure(owner, size, runs),
    }
    found: list[Table] = []
    if part in work:
        for size in sizes:
            with Owner(f"bench-{part}") as owner:
                found += work[part](owner, size)
        return found
    with Owner(f"bench-{part}") as owner:
        if part == "provisioning":
            return [everyday.provisioning(owner, runs)]
        if part == "scale":
            return scale.measure(owner)
        with tempfile.TemporaryDirectory() as scratch:
            return everyday.measure(owner, runs, Path(scratch))


def _write(pages: list[str]) -> None:
    """Put the tables between the marks; those of the same title are replaced, others stay."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    old, _, after = rest.partition(END)
    known = [f"### {part.strip()}\n" for part in old.split("### ")[1:]]
    tables = {part.partition("\n")[0]: part for part in (*known, *pages)}
    body = "\n".join(part.strip() + "\n" for part in tables.values())
    PAGE.write_text(f"{before}{BEGIN}\n\n{body}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
