"""Rare variations of a product's photograph, in a back end of your own: `uvicorn variations:app`."""

from fastapi import FastAPI, Request

from rarebit_client import AsyncClient

app = FastAPI()


@app.post("/products/{kind}/variations")
async def variations(kind: str, photo: Request) -> list[dict[str, object]]:
    async with AsyncClient() as rarebit:  # RAREBIT_URL, RAREBIT_API_KEY
        images = await rarebit.generate(kind, image=await photo.body(), count=4, rarity={"bits": 10})
    return [{"url": image.output.url, "bits": image.bits, "valid": image.validity} for image in images]
