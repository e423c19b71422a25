"""`python -m aiostreamq`, the same as the `aiostreamq` command."""

import sys

from aiostreamq.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
