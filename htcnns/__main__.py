"""`python -m htcnns`: the command line, its errors turned into one sentence and an exit code."""

import sys

try:
    from htcnns.doors.cli import main
except KeyboardInterrupt:  # during the import
    sys.exit(130)

if __name__ == "__main__":
    sys.exit(main())
