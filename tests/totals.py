#!/usr/bin/env python3
"""Add up test results and print the one line that tests/run ends with.

usage: totals.py RESULT...

RESULT is meson's testlog.json or a JUnit XML file, by suffix (one that is missing or can't be read
counts as a failed test), or failed:WHY or skipped:WHY for one test that has no file.
"""

import json
import re
import sys
import xml.etree.ElementTree as ET


def count_meson(path):
    """cmocka's own counts where a test printed them, else one per executable."""
    passed = failed = skipped = 0
    with open(path, encoding="utf-8") as log:
        for line in log:
            test = json.loads(line)
            text = test.get("stdout", "") + "\n" + test.get("stderr", "")
            ok = len(re.findall(r"^\[       OK \]", text, re.M))
            skip = len(re.findall(r"^\[  SKIPPED \] \w+$", text, re.M))
            bad = len(set(re.findall(r"^\[  FAILED  \] (\w+)$", text, re.M)))
            if test["result"] == "SKIP":
                skipped += 1
            elif test["result"] in ("OK", "EXPECTEDFAIL"):
                passed, failed, skipped = passed + max(ok, not skip), failed, skipped + skip
            else:
                passed, failed, skipped = passed + ok, failed + max(bad, 1), skipped + skip
    return passed, failed, skipped


def count_junit(path):
    passed = failed = skipped = 0
    for suite in ET.parse(path).getroot().iter("testsuite"):
        bad = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skip = int(suite.get("skipped", 0))
        failed += bad
        skipped += skip
        passed += max(int(suite.get("tests", 0)) - bad - skip, 0)
    return passed, failed, skipped


def main():
    totals = [0, 0, 0]
    for path in sys.argv[1:]:
        if path.startswith(("failed:", "skipped:")):
            totals[1 if path.startswith("failed:") else 2] += 1
            print(path)
            continue
        try:
            counts = (count_junit if path.endswith(".xml") else count_meson)(path)
        except (OSError, ValueError, KeyError, ET.ParseError) as why:
            print(f"no results in {path}: {why}")
            counts = (0, 1, 0)
        totals = [a + b for a, b in zip(totals, counts)]
    print("{} passed, {} failed, {} skipped".format(*totals))
    return 1 if totals[1] or not totals[0] else 0


if __name__ == "__main__":
    sys.exit(main())
