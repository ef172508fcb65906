"""A container image of Satchel: plain, and nothing runs in it as root."""

from __future__ import annotations

from collections.abc import Iterator

from satchel.deploy.topology import Topology

_PYTHON = "docker.io/library/python:3.11-slim-bookworm"


def container_files(topology: Topology) -> Iterator[tuple[str, str]]:
    """`Containerfile`, to be built in the folder of Satchel's sources."""
    program = "/opt/satchel/bin/satchel"
    yield (
        "Containerfile",
        f"""# Build it where pyproject.toml stands:  podman build -t {topology.installation.image} -f Containerfile .
FROM {_PYTHON} AS build
WORKDIR /src
COPY requirements/runtime.txt requirements/
RUN python -m venv /opt/satchel \\
 && /opt/satchel/bin/pip install --no-cache-dir --require-hashes -r requirements/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /opt/satchel/bin/pip install --no-cache-dir hatchling==1.27.0 \\
 && /opt/satchel/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \\
 && /opt/satchel/bin/pip uninstall --yes hatchling

FROM {_PYTHON}
COPY --from=build /opt/satchel /opt/satchel
ENV SATCHEL_DATA__FOLDER=/var/lib/satchel PYTHONUNBUFFERED=1
RUN useradd --system --uid 10001 --no-create-home satchel \\
 && install -d -o satchel -m 0700 /var/lib/satchel
USER 10001
VOLUME /var/lib/satchel
EXPOSE {topology.ports.sync_server} {topology.ports.management} {topology.ports.console}
ENTRYPOINT ["{program}"]
CMD ["run", "sync"]
""",
    )
