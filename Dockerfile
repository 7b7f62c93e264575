# planewatch: one image, one process per container; the command is a verb (producers, streams, sinks).
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE planewatch.py ./
COPY schemas schemas
COPY producers producers
COPY streams streams
COPY sinks sinks
RUN python -m venv /opt/planewatch && /opt/planewatch/bin/pip install --no-cache-dir .

FROM python:3.13-slim
COPY --from=build /opt/planewatch /opt/planewatch
RUN useradd --system --uid 10001 --home-dir /var/lib/planewatch --create-home planewatch
USER planewatch
WORKDIR /var/lib/planewatch
ENV PATH=/opt/planewatch/bin:$PATH PYTHONUNBUFFERED=1
ENTRYPOINT ["planewatch"]
CMD ["--help"]
