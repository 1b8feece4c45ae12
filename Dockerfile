# One node of the half-gateway. Its configuration, secrets and data are mounted, never built in.
FROM python:3.11-slim-bookworm
WORKDIR /opt/halfgateway
COPY requirements.lock ./
RUN pip install --no-cache-dir --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE THIRD_PARTY_NOTICES.md ./
COPY auth auth
COPY camera_registry camera_registry
COPY halfgateway halfgateway
COPY ops ops
RUN pip install --no-cache-dir --no-deps --no-build-isolation . \
 && useradd --system --uid 10001 --home-dir /var/lib/halfgateway --create-home halfgateway
USER halfgateway
ENTRYPOINT ["halfgateway"]
CMD ["serve", "--config", "/etc/halfgateway/gateway.toml"]
