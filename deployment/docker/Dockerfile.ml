# The pipeline: the command `churn`, and Dagster's webserver, daemon and code location. Built from the top folder:
#   docker build -f deployment/docker/Dockerfile.ml --build-arg VER=0.1.4 -t techitfactory/churn-ml:0.1.4 .
# Packages from another index than PyPI: --secret id=pip,src=PATH/TO/pip.conf
FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
RUN python -m venv --without-pip /opt/venv
COPY requirements/pipeline.txt deployment/docker/build.txt ./
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip,target=/etc/pip.conf \
    pip install --require-hashes --only-binary :all: -r build.txt \
    && pip --python /opt/venv/bin/python install --require-hashes --no-deps --only-binary :all: -r pipeline.txt
COPY pyproject.toml README.md LICENSE ./
COPY churn_serving churn_serving
COPY churn_assets churn_assets
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --no-index --wheel-dir /wheels . \
    && pip --python /opt/venv/bin/python install --no-cache-dir --no-deps --no-index /wheels/*.whl

FROM python:3.11-slim-bookworm
ARG VER=0.0.0
LABEL org.opencontainers.image.title="churn-ml" \
      org.opencontainers.image.description="Builds, judges and watches the models of who is about to leave" \
      org.opencontainers.image.version="$VER" \
      org.opencontainers.image.licenses="Apache-2.0"
# Any uid may run it, and the root file system may be read-only: what is written goes to volumes and to /tmp.
ENV CHURN_IMAGE_VERSION=$VER \
    DO_NOT_TRACK=1 \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib \
    PATH=/app/bin:/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    USER=churn
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin churn \
    && install -d /app/bin /app/config \
    && install -d -o churn -g churn /app/data /app/artifacts /app/.dagster \
    && ln -s entrypoint /app/bin/churn
COPY --from=build /opt/venv /opt/venv
COPY --chmod=0755 deployment/docker/entrypoint deployment/docker/healthcheck.py /app/bin/
COPY dagster.yaml /app/
WORKDIR /app
USER 10001:10001
STOPSIGNAL SIGTERM
# It runs commands, and three services that are asked in three ways: compose.yaml and the manifests say how.
HEALTHCHECK NONE
ENTRYPOINT ["/app/bin/entrypoint"]
CMD ["churn", "--help"]
