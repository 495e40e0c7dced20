#!/usr/bin/env python3
"""Print every skipped test of pytest's XML reports with its reason; exit 1 if one should have run.

Where the recordings are, a skipped test is a failure, unless it needs a GPU, cannot run as root,
or compares with a KenLM that cannot be built. Used by .ci/run.
"""

import os
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

EXCUSES = re.compile(r"\bgpu\b|\broot\b|KenLM cannot be built", re.IGNORECASE)


def skipped_tests(report: str) -> list[tuple[str, str]]:
    """(test, reason) of a JUnit XML report; an expected failure is no skip."""
    return [
        (f"{case.get('classname')}.{case.get('name')}", skip.get("message") or "without a reason")
        for case in ET.parse(report).iter("testcase")
        for skip in case.findall("skipped")
        if skip.get("type") != "pytest.xfail"
    ]


def main(reports: list[str]) -> int:
    data = Path(os.environ.get("DEEPSPEECH_TEST_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    skipped = [found for report in reports for found in skipped_tests(report)]
    wrong = [reason for _, reason in skipped if data.is_dir() and not EXCUSES.search(reason)]
    for test, reason in skipped:
        print(f"{'FAILED, it has to run here' if reason in wrong else 'skipped'}: {test}: {reason}")
    here = "here" if data.is_dir() else "not here"
    print(f"{len(skipped)} skipped, {len(wrong)} of them had to run; the recordings are {here}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
