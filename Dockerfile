# The service in one image. Build: docker build -t trabecula .   Run: docker run -v trabecula-data:/data -p 11112:11112 -p 127.0.0.1:8120:8120 trabecula
FROM python:3.11-slim-bookworm AS build
# A GPU site names the index of its CUDA build of torch; empty takes the default one of the package index in use.
ARG TRABECULA_TORCH_INDEX=""
WORKDIR /opt/trabecula
COPY requirements.lock torch.lock ./
RUN python3 -m venv venv \
 && venv/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements.lock \
 && venv/bin/pip install --no-cache-dir ${TRABECULA_TORCH_INDEX:+--index-url "$TRABECULA_TORCH_INDEX"} -r torch.lock
COPY pyproject.toml README.md LICENSE ./
COPY morphometry morphometry
COPY models models
COPY calibration calibration
COPY service service
RUN venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.11-slim-bookworm
COPY --from=build /opt/trabecula/venv /opt/trabecula/venv
COPY deploy/container.toml /etc/trabecula/trabecula.toml
# A user of its own; only /data is written.
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin trabecula \
 && mkdir -p /data && chown trabecula:trabecula /data && chmod 0750 /data
USER 10001
ENV PATH=/opt/trabecula/venv/bin:$PATH \
    TRABECULA_CONFIG=/etc/trabecula/trabecula.toml \
    PYTHONDONTWRITEBYTECODE=1 \
    MPLCONFIGDIR=/tmp
WORKDIR /data
VOLUME /data
EXPOSE 11112 8120
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
  CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8120/healthz', timeout=4)"]
ENTRYPOINT ["trabecula"]
CMD ["serve"]
