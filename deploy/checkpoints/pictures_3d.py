"""Render the furniture models of Debian's `sweethome3d-furniture` as captioned pictures of 256 px on white.

    python -m deploy.checkpoints.pictures_3d --out DIR [--sheets]

Writes `DIR/3d.zip` (WebP), `DIR/3d.jsonl` (one caption and attribution per picture) and the attribution table
`rarebit-mini/SOURCES_3D.md`.
Licences: CC0 (Blend Swap CC-0 library) and CC-BY-3.0 (Blend Swap CC-BY, Kator Legaz, Scopia); a library under any other
licence is left out, and so are persons, doors, windows, stairs and wall fittings.
Needs pip packages vtk >= 9.5, numpy, pillow; Debian packages libegl1, libgl1-mesa-dri; an up-to-date apt package list.
"""

import argparse
import io
import json
import os
import re
import subprocess
import zipfile
from collections import Counter, defaultdict
from pathlib import Path

os.environ.setdefault("LP_NUM_THREADS", "1")  # Mesa's software rasteriser takes every core otherwise

import numpy as np
import vtk
from PIL import Image
from vtk.util.numpy_support import vtk_to_numpy

from deploy.checkpoints import archive

PACKAGE = "sweethome3d-furniture"
SIZE, SUPERSAMPLE, FILL = 256, 2, 0.86
AZIMUTHS = (35, -35, 15, -60, 60, -15, 150, -80)  # degrees from the model's front, best views first
ELEVATIONS = (20, 17, 24, 19, 22, 15, 21, 18)
LICENCES = {"Public domain": "CC0-1.0", "Creative Commons Attribution 3.0": "CC-BY-3.0"}
# Words, not code: which names are skipped or reworded, and the families. A name belongs to the first family whose
# pattern it matches, so the narrow ones stand above the wide ones; their order is also the order of rendering.
WORDS = json.loads(Path(__file__).with_suffix(".json").read_text())
FAMILIES, HUES = WORDS["families"], WORDS["hues"]


def unpack_package(build):
    """Fetch and unpack the Debian package into `build`, without installing it; returns the folder of libraries."""
    libraries = build / "root/usr/share/sweethome3d/furniture"
    if not libraries.exists():
        build.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", PACKAGE], cwd=build, check=True)
        deb = next(build.glob(f"{PACKAGE}_*.deb"))
        subprocess.run(["dpkg", "-x", deb.name, "root"], cwd=build, check=True)
    return libraries


def parse_properties(text):
    """Java properties as ({key: value}, {index: {key: value}}); `name#3=Bed` is entry 3's name."""
    header, entries = {}, defaultdict(dict)
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if not equals or line.startswith("#"):
            continue
        value = re.sub(r"\\u([0-9a-fA-F]{4})", lambda m: chr(int(m[1], 16)), value.strip())
        name, indexed, index = key.strip().partition("#")
        (entries[int(index)] if indexed else header)[name] = value
    return header, entries


def describe(entry, library, licence):
    """One model's caption and attribution, or None where the model is not wanted."""
    name = WORDS["renamed"].get(entry["name"], entry["name"]).lower()
    skipped = re.search(WORDS["skipped"], name) or entry["category"] in ("Doors and windows", "Staircases")
    if skipped or entry["id"] in WORDS["unclear"]:
        return None
    family = next(family for family, pattern in FAMILIES.items() if re.search(pattern, name))
    tags = [tag.strip().lower() for tag in entry.get("tags", "").split(",")]
    keywords = [family, *tags, entry["category"].lower(), entry["name"].lower()]
    unwanted = {name, "", "blend swap", "miscellaneous", "other"}
    return {
        "name": name, "family": family, "keywords": [k for k in dict.fromkeys(keywords) if k not in unwanted],
        "source": f"sweethome3d:{library}", "licence": licence, "author": entry["creator"], "style": "3d",
        "model": entry["id"],
    }  # fmt: skip


def read_library(path, build):
    """Unzip one .sh3f library; returns [(caption, catalogue entry, OBJ file)] of the wanted models."""
    with zipfile.ZipFile(path) as archive:
        header, entries = parse_properties(archive.read("PluginFurnitureCatalog.properties").decode("latin-1"))
        licence = next((LICENCES[key] for key in LICENCES if header["license"].startswith(key)), None)
        if licence is None:
            return []
        archive.extractall(build / path.stem)
    described = [(describe(entry, path.stem, licence), entry) for entry in entries.values()]
    return [(caption, entry, build / path.stem / entry["model"].lstrip("/")) for caption, entry in described if caption]


def catalogue_transform(entry, bounds):
    """The catalogue's rotation to upright, front towards +z, then its width, height and depth."""
    rotation = np.array(entry.get("modelRotation", "1 0 0 0 1 0 0 0 1").split(), float).reshape(3, 3)
    corners = np.array(np.meshgrid(bounds[0:2], bounds[2:4], bounds[4:6])).reshape(3, -1)
    extent = np.ptp(rotation @ corners, axis=1)
    wanted = np.array([float(entry[key]) for key in ("width", "height", "depth")])
    matrix = np.eye(4)
    matrix[:3, :3] = np.diag(wanted / np.maximum(extent, 1e-6 * extent.max())) @ rotation
    return matrix


def clean_model(obj):
    """Drop faces of fewer than three corners and what precedes the first material: vtkOBJImporter fails at both."""
    rules = {obj: r"(?m)^f[ \t]+\S+([ \t]+\S+)?[ \t]*\r?\n", obj.with_suffix(".mtl"): r"\A(?s:.*?)(?=newmtl )"}
    for path, pattern in rules.items():
        text = path.read_text("latin-1")
        path.write_text(re.sub(pattern, "", text), "latin-1")


def load_model(obj, entry, window):
    """Import one OBJ with its materials into the window; returns its actors and its points (N x 3, centred)."""
    renderer = vtk.vtkRenderer(background_alpha=0.0, two_sided_lighting=True)
    window.AddRenderer(renderer)
    clean_model(obj)
    importer = vtk.vtkOBJImporter(render_window=window, file_name=str(obj), texture_path=str(obj.parent))
    importer.SetFileNameMTL(str(obj.with_suffix(".mtl")))
    importer.Update()
    actors = [actor for actor in renderer.actors if actor.mapper.input.GetNumberOfPolys()]
    matrix = catalogue_transform(entry, renderer.ComputeVisiblePropBounds())
    points = np.concatenate([used_points(actor) for actor in actors]) @ matrix[:3, :3].T
    centre = (points.min(0) + points.max(0)) / 2
    matrix[:3, 3] = -centre
    user_matrix = vtk.vtkMatrix4x4()
    user_matrix.DeepCopy(matrix.ravel().tolist())
    for actor in actors:
        actor.user_matrix = user_matrix
        soften_material(actor)
    light_scene(renderer)
    return renderer, actors, points - centre


def used_points(actor):
    """The points which the actor's polygons touch (N x 3); an OBJ group carries the whole file's points."""
    mesh = actor.mapper.input
    return vtk_to_numpy(mesh.points.data)[np.unique(vtk_to_numpy(mesh.polys.connectivity_array))]


def soften_material(actor):
    """Matte, a little ambient light, and glass dense enough to show on white."""
    material = actor.property
    colour = np.clip(material.diffuse_color, 0.04, 1.0)
    colour = colour / colour.max() if actor.texture else colour**0.85
    material.diffuse_color = material.ambient_color = colour
    material.ambient, material.diffuse, material.specular, material.specular_power = 0.36, 0.80, 0.12, 20
    material.specular_color = (1.0, 1.0, 1.0)
    material.lighting, material.opacity = True, max(material.opacity, 0.4)
    if actor.texture:
        actor.texture.interpolate = actor.texture.mipmap = True


def light_scene(renderer):
    """A soft key light from the upper left, a weak fill and a rim light, all fixed to the camera."""
    renderer.automatic_light_creation = False
    for position, intensity in (((-1.0, 1.4, 1.6), 0.80), ((1.6, 0.3, 1.0), 0.40), ((0.3, 1.5, -0.8), 0.40)):
        light = vtk.vtkLight(position=position, intensity=intensity)
        light.SetLightTypeToCameraLight()
        renderer.AddLight(light)


def recolour(actors, hue):
    """Tint the large materials, keeping light and dark; tyres, panes and small parts stay unless nothing is left."""
    sizes = defaultdict(float)
    for actor in actors:
        dx, dy, dz = np.subtract(actor.bounds[1::2], actor.bounds[::2])
        sizes[actor.property.diffuse_color] += dx * dy + dy * dz + dz * dx
    large = [a for a in actors if sizes[a.property.diffuse_color] >= 0.08 * sum(sizes.values())]
    body = [a for a in large if a.property.opacity > 0.9 and np.mean(a.property.diffuse_color) > 0.15]
    for actor in body or large:
        lightness = 1.1 if actor.texture else 0.5 + 0.6 * np.mean(actor.property.diffuse_color)
        actor.property.diffuse_color = actor.property.ambient_color = np.clip(np.array(hue) * lightness, 0, 1)


def aim_camera(camera, points, azimuth, elevation):
    """Perspective view from (azimuth, elevation) in degrees in which the points fill FILL of the frame."""
    a, e = np.radians([azimuth, elevation])
    backward = np.array([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)])
    right = np.array([np.cos(a), 0.0, -np.sin(a)])
    distance = 3.0 * np.linalg.norm(points, axis=1).max()
    depth = distance - points @ backward
    plane = np.stack([points @ right, points @ np.cross(backward, right)]) / depth
    low, high = plane.min(1), plane.max(1)
    half = (high - low).max() / 2 / FILL
    camera.position, camera.focal_point, camera.view_up = backward * distance, (0, 0, 0), (0, 1, 0)
    camera.view_angle = 2 * np.degrees(np.arctan(half))
    camera.SetWindowCenter(*((low + high) / 2 / half))


def grab(window):
    """Render and average down to SIZE; uint8 straight alpha."""
    window.Render()
    pixels, side = vtk.vtkUnsignedCharArray(), SIZE * SUPERSAMPLE - 1
    window.GetRGBACharPixelData(0, 0, side, side, 0, pixels)
    premultiplied = vtk_to_numpy(pixels).reshape(SIZE, SUPERSAMPLE, SIZE, SUPERSAMPLE, 4).mean((1, 3))[::-1]
    alpha = premultiplied[..., 3:]
    rgb = np.where(alpha > 0, premultiplied[..., :3] * 255 / np.maximum(alpha, 1), 255)
    return np.concatenate([rgb, alpha], -1).clip(0, 255).round().astype(np.uint8)


def is_visible(picture):
    """False for thin lines (alpha coverage under 6%) and for renders which came out black."""
    alpha = picture[..., 3] / 255
    return alpha.mean() >= 0.06 and (picture[..., :3].mean(-1) * alpha).sum() / alpha.sum() > 14


def extra_elevation(points, family):
    """Things that lie flat (phones, watches, plates) are looked at from higher up."""
    width, height, depth = np.ptp(points, axis=0)
    stands = family in ("bed", "sofa", "chair", "table", "car", "vehicle")
    return 35 if height < 0.3 * max(width, depth) and not stands else 0


def render_model(caption, entry, obj, window, turn):
    """Yield (picture, caption) for all views, then for the re-coloured variants of thin families."""
    renderer, actors, points = load_model(obj, entry, window)
    hues = [list(HUES)[(turn + i) % len(HUES)] for i in range(WORDS["recoloured_variants"].get(caption["family"], 0))]
    raised = extra_elevation(points, caption["family"])
    views = [(None, view) for view in range(len(AZIMUTHS))]
    views += [(hue, (i + 3 * j) % 6) for i, hue in enumerate(hues) for j in range(3)]
    originals = [actor.property.diffuse_color for actor in actors]
    for hue, view in views:
        for actor, colour in zip(actors, originals, strict=True):
            actor.property.diffuse_color = actor.property.ambient_color = colour
        if hue:
            recolour(actors, HUES[hue])
        aim_camera(renderer.active_camera, points, AZIMUTHS[view], ELEVATIONS[view] + raised)
        renderer.ResetCameraClippingRange()
        picture = grab(window)
        if is_visible(picture):
            keywords = [hue, *caption["keywords"]] if hue else caption["keywords"]
            yield picture, caption | {"keywords": keywords, "azimuth": AZIMUTHS[view], "recoloured": bool(hue)}
    window.RemoveRenderer(renderer)


def write_sheets(folder, pictures, captions):
    """One contact sheet of up to 60 pictures per family, to look at."""
    folder.mkdir(parents=True, exist_ok=True)
    for family in {caption["family"] for caption in captions}:
        members = [i for i, caption in enumerate(captions) if caption["family"] == family]
        sheet = Image.new("RGB", (12 * 64, 5 * 64), "white")
        for cell, i in enumerate(members[:: -(-len(members) // 60)]):
            tile = Image.open(io.BytesIO(pictures[i])).resize((64, 64))
            sheet.paste(tile, (cell % 12 * 64, cell // 12 * 64))
        sheet.save(folder / f"3d_{family}.png")


def write_sources(path, captions):
    """The attribution table that CC-BY asks for: library, licence, number of models, authors."""
    rows = ["# The 3-D models behind `3d.zip`", "", f"From Debian's `{PACKAGE}`, rendered by `pictures_3d.py`.", ""]
    rows += ["| library | licence | models | pictures | authors |", "|---|---|---|---|---|"]
    for source in sorted({caption["source"] for caption in captions}):
        members = [caption for caption in captions if caption["source"] == source]
        models, authors = {c["model"] for c in members}, sorted({c["author"] for c in members}, key=str.lower)
        library = source.partition(":")[2]
        rows.append(f"| {library} | {members[0]['licence']} | {len(models)} | {len(members)} | {', '.join(authors)} |")
    rows += ["", "Credits which the libraries ask for:"]
    rows += [f"- {library}: {credit}" for library, credit in WORDS["credits"].items()]
    path.write_text("\n".join([*rows, ""]))


def make_window():
    vtk.vtkObject.GlobalWarningDisplayOff()
    side = SIZE * SUPERSAMPLE
    window = vtk.vtkRenderWindow(off_screen_rendering=True, alpha_bit_planes=True, multi_samples=0)
    window.SetSize(side, side)
    return window


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--build", type=Path, help="where the package is unpacked (default: OUT/build-3d)")
    parser.add_argument("--sheets", action="store_true", help="also write contact sheets to OUT/sheets")
    arguments = parser.parse_args()
    build = arguments.build or arguments.out / "build-3d"
    models = [m for path in sorted(unpack_package(build).glob("*.sh3f")) for m in read_library(path, build)]
    models.sort(key=lambda model: list(FAMILIES).index(model[0]["family"]))
    arguments.out.mkdir(parents=True, exist_ok=True)
    window, pictures, captions = make_window(), [], []
    for turn, (caption, entry, obj) in enumerate(models, start=1):
        for picture, described in render_model(caption, entry, obj, window, turn):
            pictures.append(archive.webp(archive.on_white(Image.fromarray(picture))))
            captions.append(described)
        if turn % 100 == 0 or turn == len(models):
            print(f"{turn}/{len(models)} models, {len(pictures)} pictures", flush=True)
    archive.write(arguments.out / "3d.zip", pictures)
    (arguments.out / "3d.jsonl").write_text("".join(json.dumps(c, ensure_ascii=False) + "\n" for c in captions))
    write_sources(Path(__file__).parent / "rarebit-mini" / "SOURCES_3D.md", captions)
    if arguments.sheets:
        write_sheets(arguments.out / "sheets", pictures, captions)
    print(Counter(caption["family"] for caption in captions))


if __name__ == "__main__":
    main()
