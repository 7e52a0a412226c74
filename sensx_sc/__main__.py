"""``python -m sensx_sc``."""

from __future__ import annotations

import sys

from sensx_sc.cli import main

sys.exit(main())
