"""`rarebit mcp` by the official client over stdio, before the running service."""

import asyncio
from base64 import b64decode
from io import BytesIO

from mcp import Client as Assistant
from mcp import StdioServerParameters, stdio_client
from PIL import Image

from deploy.local.stack.child import RAREBIT
from rarebit_client import Client


async def test_assistant_makes_pictures_varies_one_and_hears_what_is_refused(service, tmp_path):
    heard = []

    async def hear(told, _total, said):
        heard.append((told, said))

    async with Assistant(stdio_client(_parameters(service.url))) as assistant:
        tools = {tool.name for tool in (await assistant.list_tools()).tools}
        assert tools == {"generate", "vary", "draw_again", "job_status"}
        asked = {"concept": "chair", "model": "rarebit", "count": 2, "bits": 12, "avoid": ["red"], "seed": 7}
        made = await assistant.call_tool("generate", asked, progress_callback=hear)
        told, (_, *pictures) = made.structured_content, made.content
        assert [(one["seed"], one["bits"], one["validity"]) for one in told["images"]] == [(7, 10, 0.9), (8, 10, 0.9)]
        assert [Image.open(BytesIO(b64decode(one.data))).format for one in pictures] == ["WEBP", "WEBP"]
        assert [told for told, _ in heard] == [*range(1, len(heard) + 1)]
        assert "optimize: 0 of 50" in [said for _, said in heard]

        (tmp_path / "own.png").write_bytes(_png())
        for picture in (told["images"][0]["output"], str(tmp_path / "own.png")):
            more = await assistant.call_tool("vary", {"picture": picture, "concept": "chair", "toward": ["blue"]})
            status = await assistant.call_tool("job_status", {"job_id": more.structured_content["job"]})
            assert status.structured_content["status"] == "succeeded"

        again = {"picture": told["images"][1]["output"], "concept": "chair", "prompt": "a {} on a beach"}
        drawn = await assistant.call_tool("draw_again", again)
        assert [one["validity"] for one in drawn.structured_content["images"]] == [0.9]

        lost = await assistant.call_tool("vary", {"picture": "0" * 32 + "/0", "concept": "chair"})
        assert (lost.is_error, "/image/output" in lost.content[0].text) == (True, True)
        other = await assistant.call_tool("generate", {"concept": "chair", "model": "large"})
        assert (other.is_error, "/model: is none of rarebit" in other.content[0].text) == (True, True)
    with Client(service.url) as rarebit:
        request = rarebit.get(told["job"]).request
        found = rarebit.get(drawn.structured_content["job"]).request
    assert (request["rarity"]["bits"], request["avoid"][0]["text"]) == (12, "red")
    assert (found["found"]["output"], found["prompt"]) == (again["picture"], again["prompt"])


async def test_call_that_is_cancelled_cancels_its_job(url, alone):
    """The gateway has no worker: the job waits until somebody ends it."""

    async def until(status):
        while [job.status for job in alone.jobs()] != [status]:
            await asyncio.sleep(0.05)

    async with Assistant(stdio_client(_parameters(url))) as assistant, asyncio.timeout(30):
        call = asyncio.create_task(assistant.call_tool("generate", {"concept": "chair"}))
        await until("queued")
        call.cancel()
        await until("canceled")


def _parameters(url):
    command, *words = RAREBIT
    return StdioServerParameters(command=command, args=[*words, "mcp"], env={"RAREBIT_URL": url})


def _png():
    file = BytesIO()
    Image.new("RGB", (48, 32), "teal").save(file, "png")
    return file.getvalue()
