"""`python -m cagchat`: the same as the `cagchat` command."""

import sys

from cagchat.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
