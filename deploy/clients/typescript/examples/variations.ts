// Rare variations of a product's photograph, in a back end of your own: POST /products/handbag/variations
import { createServer } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { Rarebit } from 'rarebit';

const rarebit = new Rarebit({ baseUrl: process.env.RAREBIT_URL, apiKey: process.env.RAREBIT_API_KEY });

const server = createServer(async (request, response) => {
  const kind = decodeURIComponent(request.url!.split('/')[2]!);
  const image = new Blob([await buffer(request)], { type: request.headers['content-type'] });
  const images = await rarebit.generate({ concept: kind, image, count: 4, rarity: { bits: 10 } });
  const found = images.map(({ output }) => ({ url: output.url, bits: output.rarity.bits, valid: output.validity }));
  response.setHeader('content-type', 'application/json').end(JSON.stringify(found));
});
server.listen(Number(process.env.PORT ?? 3000), () => console.log('listening'));
