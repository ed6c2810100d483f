"""`python -m medk2n_node` is `medk2n`."""

from __future__ import annotations

import sys

from medk2n_node.cli import main

sys.exit(main())
