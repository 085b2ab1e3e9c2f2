"""Download the openly licensed 2-D picture sets, render them on white at 256 px and name them.

    pip install numpy pillow resvg-py cairosvg      # plus npm, apt-get and dpkg on the path
    python -m deploy.checkpoints.pictures_2d --out DIR

Writes DIR/2d.zip (WebP), DIR/2d.jsonl (one row per picture), DIR/families_2d.json and DIR/sheets/2d_<family>.png.
Nothing is installed outside DIR. Licences (attribution in rarebit-mini/SOURCES.md): Apache-2.0 noto, noto-v1, fxemoji,
icon-park; MIT fluent-emoji (flat, gradient, 3d), flat-color-icons, fluent-color, meteocons, emojibase (keywords);
CC-BY-4.0 twemoji, emojione, streamline; CC-BY-3.0 game-icons; public domain: openclipart. How names are
cleaned and grouped stands in names_2d.py.
"""

import argparse
import collections
import hashlib
import io
import json
import re
import signal
import subprocess
from pathlib import Path

import cairosvg
import numpy as np
import resvg_py
from PIL import Image

from deploy.checkpoints import archive
from deploy.checkpoints.names_2d import FAMILIES, SKIP_CATEGORIES, Emoji, clean, family, is_person, plain, squeezed

SIZE, SMALL = 256, 64  # what is kept, and what near-duplicates are told by
SOURCES = {  # name: (licence, style); every one is an npm package @iconify-json/<name> but the last two
    "noto": ("Apache-2.0", "emoji"),
    "fluent-emoji-flat": ("MIT", "flat"),
    "twemoji": ("CC-BY-4.0", "flat"),
    "fluent-emoji": ("MIT", "emoji"),
    "emojione": ("CC-BY-4.0", "emoji"),
    "fxemoji": ("Apache-2.0", "flat"),
    "noto-v1": ("Apache-2.0", "emoji"),
    "streamline-emojis": ("CC-BY-4.0", "emoji"),
    "streamline-kameleon-color": ("CC-BY-4.0", "flat"),
    "streamline-ultimate-color": ("CC-BY-4.0", "icon"),
    "streamline-freehand-color": ("CC-BY-4.0", "icon"),
    "streamline-plump-color": ("CC-BY-4.0", "icon"),
    "streamline-cyber-color": ("CC-BY-4.0", "icon"),
    "streamline-stickies-color": ("CC-BY-4.0", "icon"),
    "icon-park": ("Apache-2.0", "icon"),
    "flat-color-icons": ("MIT", "flat"),
    "fluent-color": ("MIT", "icon"),
    "meteocons": ("MIT", "flat"),
    "game-icons": ("CC-BY-3.0", "silhouette"),
    "fluent-emoji-3d": ("MIT", "3d"),
    "openclipart": ("public domain", "clipart"),
}
EXTRA_PACKAGES = ["@lobehub/fluent-emoji-3d", "emojibase-data"]
BOX = {"left": 0, "top": 0, "width": 16, "height": 16}  # the defaults of the iconify format
XMLNS = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
PERSON_LIMIT = 300
OPENCLIPART_SKIP = re.compile(
    r"/(flags|buttons|gradients|patterns|cards|roadsigns|aiga-symbols|folders|diagrams"
    r"|stickmen|examples|logos|duplicates|geography|signs_and_symbols|shapes)/"
)


def fetch(build):
    """npm and apt packages, unpacked under the build folder (kept between runs)."""
    packages = [f"@iconify-json/{name}" for name in list(SOURCES)[:-2]] + EXTRA_PACKAGES
    build.mkdir(parents=True, exist_ok=True)
    (build / "package.json").write_text('{"private": true}')
    subprocess.run(["npm", "install", "--no-audit", "--no-fund", *packages], cwd=build, check=True)
    if not (build / "deb").exists():
        subprocess.run(["apt-get", "download", "openclipart-svg"], cwd=build, check=True)
        subprocess.run(["dpkg", "-x", next(build.glob("openclipart-svg*.deb")).name, "deb"], cwd=build, check=True)


def skipped_icons(folder):
    """Icons that their set files under flags, symbols, arrows, interface and the like."""
    path = folder / "metadata.json"
    categories = json.loads(path.read_text()).get("categories", {}) if path.exists() else {}
    return {icon: key for key in SKIP_CATEGORIES for icon in categories.get(key, [])}


def iconify(build, source, emoji):
    """(raw name, keywords, svg) of one icon set; of a skipped category only what belongs to a family."""
    folder = build / f"node_modules/@iconify-json/{source}"
    data, skipped = json.loads((folder / "icons.json").read_text()), skipped_icons(folder)
    for key, icon in sorted(data["icons"].items()):
        name = emoji.split(key) or (key if len(key) < 11 else "") if source == "fxemoji" else key
        unwanted = skipped.get(key) == "Flags" or (key in skipped and not family(clean(name, source) or "", source))
        if icon.get("hidden") or unwanted or (source == "meteocons" and not key.endswith("-fill")):
            continue
        left, top, width, height = (icon.get(key, data.get(key, default)) for key, default in BOX.items())
        yield (
            name,
            [],
            (
                f'<svg {XMLNS} width="{width}" height="{height}" viewBox="{left} {top} {width} {height}">'
                f"{icon['body']}</svg>"
            ),
        )


def fluent_3d(build, emoji):
    for path in sorted((build / "node_modules/@lobehub/fluent-emoji-3d/assets").glob("*.webp")):
        if label := emoji.by_code.get(path.stem.upper().replace("-FE0F", "")):
            yield label, [], path


def openclipart(build, emoji):
    """Drawings that declare themselves public domain, named by the words of their title that other sets use too."""
    for path in sorted((build / "deb/usr/share/openclipart/svg").rglob("*.svg")):
        text = path.read_text(errors="replace")
        if OPENCLIPART_SKIP.search(str(path)) or len(text) > 400_000 or not re.search(r"(?i)public ?domain", text):
            continue
        title = re.search(r"<cc:Work.*?<dc:title>([^<]*)</dc:title>|<title>([^<]+)</title>", text, re.S)
        title = plain((title and (title[1] or title[2])) or "")
        name = clean(path.stem if not title or "clipart" in title else title, "openclipart") or ""
        known = " ".join(word for word in name.split() if word in emoji.words)
        known = re.sub(r"( (and|on|in|of|with|to|for|by|from))+$", "", known)
        if family(known, "openclipart") or (known and known == name and "/icons/" not in str(path)):
            yield known, [plain(word) for word in re.findall(r"<rdf:li>([^<]+)</rdf:li>", text)], text


def candidates(build, emoji):
    """Rows without pixels, in the order of SOURCES; symbols, flags and skin tones already left out."""
    for source in SOURCES:
        own = {"fluent-emoji-3d": fluent_3d, "openclipart": openclipart}.get(source)
        reader = own(build, emoji) if own else iconify(build, source, emoji)
        sizes = {}  # fluent-color draws one icon at several sizes: the last is the largest
        for raw, words, picture in reader:
            known = emoji.by_name.get(squeezed(raw), {})
            name = clean(raw, source)
            if name is None or known.get("group") in (2, 8, 9) or "flag" in " ".join(words):
                continue
            emoji.words.update(name.split())
            tags = dict.fromkeys([*map(plain, known.get("tags", [])), *words])
            row = {
                "name": name,
                "keywords": [tag for tag in tags if tag not in ("", name)][:12],
                "source": source,
                "licence": SOURCES[source][0],
                "style": SOURCES[source][1],
            }
            key = raw.rsplit("-", 1)[0] if source == "fluent-color" else (raw, len(sizes))
            sizes[key] = (row, known.get("group"), picture)
        yield from sizes.values()


def thin_persons(rows):
    """At most PERSON_LIMIT persons, chosen by a hash of source and name so that a rerun keeps the same ones."""
    persons = [item for item in rows if item[1] == 1 or is_person(item[0]["name"], item[0]["source"])]
    order = sorted(persons, key=lambda item: hashlib.sha1((item[0]["source"] + item[0]["name"]).encode()).digest())
    dropped = {id(item) for item in order[PERSON_LIMIT:]}
    return [item for item in rows if id(item) not in dropped]


def give_up(*_):
    raise TimeoutError("a drawing takes longer than 8 s")


def rasterise(picture):
    """An RGBA image of a file or of SVG text; cairosvg where resvg fails or draws nothing."""
    if isinstance(picture, Path):
        return Image.open(picture).convert("RGBA")
    width = 640 if "<metadata" in picture else 448  # clip art is often drawn small on a large page
    for draw in (
        lambda: bytes(resvg_py.svg_to_bytes(svg_string=picture, width=width, skip_system_fonts=True)),
        lambda: cairosvg.svg2png(picture.encode(), output_width=width),
    ):
        try:
            signal.alarm(8)
            image = Image.open(io.BytesIO(draw())).convert("RGBA")
            if image.getchannel("A").getbbox():
                return image
        except Exception:  # drawings break in many ways, and the next renderer or none takes over
            continue
        finally:
            signal.alarm(0)
    return None


def drawn_box(image):
    return image.getchannel("A").point(lambda alpha: 255 * (alpha > 8)).getbbox()


def fit(image):
    """Cropped to what is drawn, centred on a transparent square with a margin of 1/20."""
    image = image.crop(drawn_box(image))
    side = round(max(image.size) * 1.1)
    square = Image.new("RGBA", (side, side))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def resized(square, size):
    return square.resize((size, size), Image.Resampling.BICUBIC)


def render(rows):
    """Encoded pictures, and rows, of what covers at least 4 % and is not a near-duplicate."""
    kept, pictures, seen, thumbs = [], [], set(), collections.defaultdict(list)
    for row, _, picture in rows:
        image = rasterise(picture)
        if image is None or not drawn_box(image):
            continue
        square = fit(image)
        small = resized(square, SMALL)
        pixels = np.asarray(archive.on_white(small), np.float32)
        thumb = pixels.reshape(16, 4, 16, 4, 3).mean((1, 3))
        key = (thumb // 16).astype(np.uint8).tobytes()
        faint = np.asarray(small.getchannel("A")).mean() < 0.04 * 255 or thumb.std() < 4
        if faint or key in seen or any(np.abs(thumb - other).mean() < 4 for other in thumbs[row["name"]]):
            continue
        seen.add(key)
        thumbs[row["name"]].append(thumb)
        kept.append(row)
        pictures.append(archive.webp(archive.on_white(resized(square, SIZE))))
        if len(kept) % 1000 == 0:
            print(f"{len(kept)} pictures", flush=True)
    return pictures, kept


def contact_sheet(pictures, path):
    """Up to 60 pictures, ten a row."""
    chosen = pictures[:: -(-len(pictures) // 60)]
    sheet = Image.new("RGB", (10 * SMALL, -(-len(chosen) // 10) * SMALL), "white")
    for i, picture in enumerate(chosen):
        sheet.paste(resized(Image.open(io.BytesIO(picture)), SMALL), (i % 10 * SMALL, i // 10 * SMALL))
    sheet.save(path)


def describe_families(out, pictures, kept):
    """families_2d.json (counts per name) and a contact sheet per family."""
    groups = [family(row["name"], row["source"]) for row in kept]
    (out / "sheets").mkdir(exist_ok=True)
    table = {}
    for key in FAMILIES:
        rows = [i for i, group in enumerate(groups) if group == key]
        counts = collections.Counter(kept[i]["name"] for i in rows)
        table[key] = {"total": len(rows), "names": dict(counts.most_common())}
        contact_sheet([pictures[i] for i in rows], out / "sheets" / f"2d_{key}.png")
    (out / "families_2d.json").write_text(json.dumps(table, indent=1))
    print({key: value["total"] for key, value in table.items()})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--build", type=Path, help="where packages are unpacked (default: OUT/build_2d)")
    args = parser.parse_args()
    signal.signal(signal.SIGALRM, give_up)
    build = args.build or args.out / "build_2d"
    args.out.mkdir(parents=True, exist_ok=True)
    fetch(build)
    rows = thin_persons(list(candidates(build, Emoji(build))))
    pictures, kept = render(rows)
    archive.write(args.out / "2d.zip", pictures)
    (args.out / "2d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept))
    print(len(kept), collections.Counter(row["source"] for row in kept))
    describe_families(args.out, pictures, kept)


if __name__ == "__main__":
    main()
