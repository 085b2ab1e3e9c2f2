"""The verifying code in docs/webhooks.md takes what the gateway signs, and nothing else."""

import json
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from standardwebhooks import Webhook as Signer

from tests.receiver import SECRET

PAGE = (Path(__file__).parents[2] / "docs/webhooks.md").read_text()
BODY = '{"type":"job.succeeded","data":{"concept":"Hütte"}}'


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def headers(age_s=0, body=BODY):
    at = datetime.now(UTC) - timedelta(seconds=age_s)
    signed = Signer(SECRET).sign("msg_1", at, body)
    return {"webhook-id": "msg_1", "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signed}


BAD = [{"age_s": 600}, {"body": "{}"}]


@pytest.mark.parametrize("code", blocks("python"))
def test_python_on_the_page_verifies(code):
    scope = {}
    exec(code, scope)
    assert scope["read"](BODY.encode(), headers(), SECRET) == json.loads(BODY)
    for bad in BAD:
        with pytest.raises(Exception, match=r"(?i)too old|sign"):
            scope["read"](BODY.encode(), headers(**bad), SECRET)


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_javascript_without_a_library_on_the_page_verifies(tmp_path):
    _, plain = blocks("js")
    file = tmp_path / "read.mjs"
    call = (
        "\nconst [body, headers, secret] = JSON.parse(process.argv[2]);\nconsole.log(read(body, headers, secret).type);"
    )
    file.write_text(plain + call)

    def run(given):
        command = ["node", str(file), json.dumps([BODY, given, SECRET])]
        return subprocess.run(command, capture_output=True, text=True)

    assert run(headers()).stdout == "job.succeeded\n"
    for bad in BAD:
        assert "Error: " in run(headers(**bad)).stderr
