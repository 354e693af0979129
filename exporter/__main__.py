"""`python -m exporter` is `celery-exporter`."""

import sys

from exporter.cli import main

sys.exit(main())
