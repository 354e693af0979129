"""What a release publishes: the two packages, the list of what comes with them, and the chart.

Tests here are fast. `make release-check` builds all of it and runs the ``check_*.py`` against it, which takes many
minutes and a package index, so that `make test` leaves them out.
"""
