# The exporter alone: Python, our distribution and its dependencies in the versions of constraints.txt, nothing else.
# No shell, pip or package manager is in it. compose.yaml runs the demo's workers and client from it too.
#
# PYTHON_IMAGE may be any Debian-based image of Python 3.11 or newer with pip, such as your mirror's or a hardened one.
# A package index of your own: docker build --secret id=pip.conf,src=pip.conf (it stays out of every layer).
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY constraints.txt wheels.sha256 pyproject.toml hatch_build.py README.md LICENSE ./
COPY scripts/image_root.py scripts/verify_wheels.py scripts/
COPY exporter exporter
# Extras of pyproject.toml, such as sqs.
ARG EXTRAS=
# "no" for a package index that builds its own wheels: those of wheels.sha256 are the public index's.
ARG VERIFY=yes
# Wheels only: nothing is compiled here, so no compiler is needed on any platform. None is installed before its hash is
# found in wheels.sha256, and what is installed is what was verified.
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    verify() { [ "$VERIFY" = no ] || python scripts/verify_wheels.py wheels.sha256 "$1"; } \
    && pip download --constraint constraints.txt --only-binary :all: --dest backend hatchling \
    && verify backend \
    && pip install --no-index --find-links backend --constraint constraints.txt hatchling \
    && pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
    && pip download --constraint constraints.txt --only-binary :all: --dest wheels "$(echo dist/*.whl)${EXTRAS:+[$EXTRAS]}" \
    && rm wheels/celery_metrics_exporter-* \
    && verify wheels \
    && python -m venv --without-pip /opt/celery-exporter \
    && pip --python /opt/celery-exporter/bin/python install \
        --no-compile --no-index --find-links wheels "$(echo dist/*.whl)${EXTRAS:+[$EXTRAS]}" \
    && python scripts/image_root.py /opt/celery-exporter /image

FROM scratch
COPY --from=build /image /
ENV PATH=/opt/celery-exporter/bin:/usr/local/bin:/usr/bin \
    LANG=C.UTF-8 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /
EXPOSE 9808
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 CMD ["celery-exporter", "healthcheck"]
ENTRYPOINT ["celery-exporter"]

# Last, so that another revision changes no layer.
ARG PYTHON_IMAGE
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
ARG SOURCE=
LABEL org.opencontainers.image.title="celery-exporter" \
    org.opencontainers.image.description="Prometheus exporter for Celery: exact, cheap, never silently stale" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.base.name="${PYTHON_IMAGE}" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.created="${CREATED}" \
    org.opencontainers.image.source="${SOURCE}"
