"""A real nginx before a gateway."""

import shutil
from pathlib import Path

import pytest

from servers import Server

_AROUND = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  {configuration}
}}
"""


def configured(folder: Path, port: int, configuration: str) -> Server:
    """An nginx of this configuration, which listens on the port; where there is none, the test is left out."""
    binary = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    if binary is None:
        pytest.skip("there is no nginx, which .ci/run installs where it can")
    (folder / "nginx.conf").write_text(_AROUND.format(folder=folder, configuration=configuration))
    return Server([binary, "-c", str(folder / "nginx.conf"), "-e", str(folder / "log")], port)


def nginx(folder: Path, port: int, upstream: str, location: str = "/", directives: str = "") -> Server:
    """One that passes `location` on to the URL."""
    passed = f"proxy_pass {upstream}; proxy_set_header Host $http_host; {directives}"
    return configured(folder, port, f"server {{ listen 127.0.0.1:{port}; location {location} {{ {passed} }} }}")
