# The exporter, in the versions of constraints.txt; compose.yaml runs the demo's workers and client from it too.
FROM python:3.11-slim

WORKDIR /app
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY exporter exporter
RUN pip install --no-cache-dir --constraint constraints.txt . \
    && useradd --system --no-create-home --uid 10001 celery-exporter

USER 10001
EXPOSE 9808
ENTRYPOINT ["celery-exporter"]
