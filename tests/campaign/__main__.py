"""`python -m tests.campaign --seeds 1-20 --nights 30`: the campaign; `make campaign SEED= NIGHTS=` calls it."""

from __future__ import annotations

import sys

from tests.campaign.campaign import main

if __name__ == "__main__":
    sys.exit(main())
