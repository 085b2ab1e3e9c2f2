"""The TypeScript client against the running service, in the Node.js of the development dependencies."""

import hashlib
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.clients.generate import CONTRACT, STAMP, contract

LAWS = Path(__file__).with_name("laws.ts")
LIMIT_S = 60


@pytest.fixture
def law(service, node) -> Callable[..., None]:
    """Run the law; restart the gateway when it says so."""

    def run(name: str, **further: str) -> None:
        env = os.environ | {"RAREBIT_URL": service.url} | further
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen([node, str(LAWS), name], env=env, text=True, **pipes) as process:
            limit = threading.Timer(LIMIT_S, process.kill)
            limit.start()
            for _ in process.stdout:
                service.restart()
            _, said = process.communicate()
            limit.cancel()
            assert process.returncode == 0, said

    return run


def test_generate_tells_progress_and_gives_pictures_with_their_figures(law):
    law("generate")


def test_event_stream_survives_the_gateway_and_repeats_nothing(law):
    law("restart")


def test_aborted_generate_cancels_its_job(law):
    law("abort")


def test_errors_are_told_by_their_names(law):
    law("errors")


def test_name_that_would_lead_to_another_path_is_an_error_of_the_clients_own(law):
    law("dots")


def test_wait_goes_on_where_a_proxy_has_less_patience(law, impatient):
    law("impatient", RAREBIT_PROXY=impatient)


def test_job_whose_answers_were_lost_is_one_job(law):
    law("lost")


def test_contract_and_generated_client_are_those_of_the_application():
    assert CONTRACT.read_text() == contract(), "make clients writes it anew"
    assert STAMP.read_text().strip() == hashlib.sha256(CONTRACT.read_bytes()).hexdigest()
