"""`python -m htcnns`: the command line, its errors turned into one sentence and an exit code."""

import sys

from htcnns.doors.cli import main

if __name__ == "__main__":
    sys.exit(main())
