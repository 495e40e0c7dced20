"""The program `deepspeech` with the tasks of the tests in its table: `python with_other_tasks.py COMMAND ...`."""

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS.parent), str(TESTS)]

from tasks.other_tasks import register  # noqa: E402

from deepspeech_training.commands.main import main  # noqa: E402

if __name__ == "__main__":
    register()
    sys.exit(main())
