"""`python -m celery_metrics_exporter` is `celery-exporter`."""

import sys

from celery_metrics_exporter.cli.main import main

sys.exit(main())
