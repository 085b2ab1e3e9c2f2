"""A real nginx before a gateway."""

import shutil
from pathlib import Path

import pytest

from servers import Server

_CONFIGURATION = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location {location} {{ proxy_pass {upstream}; proxy_set_header Host $http_host; {directives} }}
  }}
}}
"""


def nginx(folder: Path, port: int, upstream: str, location: str = "/", directives: str = "") -> Server:
    """An nginx on the port, which passes `location` on to the URL; where there is none, the test is left out."""
    binary = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    if binary is None:
        pytest.skip("there is no nginx, which .ci/run installs where it can")
    options = {"location": location, "upstream": upstream, "directives": directives}
    (folder / "nginx.conf").write_text(_CONFIGURATION.format(folder=folder, port=port, **options))
    return Server([binary, "-c", str(folder / "nginx.conf"), "-e", str(folder / "log")], port)
