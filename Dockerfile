# One node of the half-gateway. Its configuration, secrets and data are mounted, never built in.
# The base is pinned to a release; a site that must rebuild the same bytes pins its digest as well.
FROM python:3.11.7-slim-bookworm AS built
WORKDIR /build
COPY requirements.lock ./
RUN python -m venv /opt/halfgateway \
 && /opt/halfgateway/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE THIRD_PARTY_NOTICES.md ./
COPY auth auth
COPY camera_registry camera_registry
COPY halfgateway halfgateway
COPY ops ops
RUN /opt/halfgateway/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.11.7-slim-bookworm
RUN useradd --system --uid 10001 --user-group --home-dir /var/lib/halfgateway --create-home halfgateway \
 && chmod 0700 /var/lib/halfgateway \
 && install --directory --mode=0750 --owner=halfgateway --group=halfgateway /var/lib/halfgateway-footage
COPY --from=built /opt/halfgateway /opt/halfgateway
ENV PATH=/opt/halfgateway/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    HALFGATEWAY_CONFIG=/etc/halfgateway/gateway.toml
USER 10001:10001
WORKDIR /var/lib/halfgateway
EXPOSE 8080 8322 8443
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
ENTRYPOINT ["halfgateway"]
CMD ["serve"]
