"""Run the command line as `python -m cosim.cli`."""

import sys

from cosim.cli.main import main

sys.exit(main())
