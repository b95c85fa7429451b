"""How many of the faults that ``mutmut run`` put in were found: per module, overall, the survivors.

    python benchmarks/mutants.py [least share]     (default 0.9; below it the exit status is 1)

A fault that makes the tests fail or hang is found. One that no test reaches is not.
"""

import sys
from collections import Counter

from mutmut.__main__ import walk_mutatable_files
from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code

FOUND = {"killed", "timeout"}


def line(name: str, counts: Counter[str]) -> str:
    rest = ", ".join(f"{n} {status}" for status, n in counts.items() if status not in FOUND)
    return f"{share(counts):7.1%}  {counts.total():5d}  {name:45} {rest}"


def share(counts: Counter[str]) -> float:
    return sum(counts[status] for status in FOUND) / max(counts.total(), 1)


def main(least: float) -> int:
    overall: Counter[str] = Counter()
    survivors: list[str] = []
    print("  found  faults  module")
    for path in sorted(walk_mutatable_files()):
        data = SourceFileMutationData(path=path)
        data.load()
        status_of = {
            name: status_by_exit_code[code] for name, code in data.exit_code_by_key.items()
        }
        if status_of:
            print(line(str(path), Counter(status_of.values())))
        overall.update(status_of.values())
        for name, status in status_of.items():
            if status not in FOUND:
                changed = [
                    row
                    for row in get_diff_for_mutant(name, path=path).splitlines()
                    if row[:1] in "+-" and row[:3] not in ("+++", "---")
                ]
                survivors.append("\n".join([f"\n{name}: {status}", *changed]))
    print(line("all", overall))
    print(*survivors, sep="\n")
    return int(not overall or share(overall) < least)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 0.9))
